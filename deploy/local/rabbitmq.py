"""A private RabbitMQ with its own node, ports and folders, and the epmd (Erlang's port mapper) that it registers with.

Its queues and policy come from deploy/rabbitmq/definitions.json, which the chart and Compose use too; the user is this
instance's own. RabbitMQ starts even without its epmd, which would then be a shared one that outlives it: start epmd first.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import packages
import probes
from part import Part, PartFailed

USER = "mediagen"
VHOST = "mediagen"
WAL_BYTES = 64_000_000
"""Of RabbitMQ's write-ahead log: what is written to a quorum queue stays in memory until a file of it is full, by default 512 MiB
(https://www.rabbitmq.com/docs/quorum-queues#resource-use)."""

DEFINITIONS = Path(__file__).resolve().parents[1] / "rabbitmq" / "definitions.json"


class Epmd(Part):
    """Erlang's port mapper, for this instance's RabbitMQ alone."""

    def __init__(self, state: Path, port: int) -> None:
        """Listens on loopback, on a port of its own."""
        super().__init__(
            state,
            "epmd",
            [shutil.which("epmd") or "/usr/bin/epmd", "-port", str(port), "-address", "127.0.0.1"],
            {},
            lambda: probes.accepts_connections(port),
            address=f"127.0.0.1:{port}",
            stop_seconds=2,
        )


class RabbitMQ(Part):
    """One broker; `url` names a virtual host in it."""

    def __init__(self, state: Path, port: int, dist_port: int, epmd_port: int, password: str) -> None:
        """`dist_port` is where the node listens for rabbitmqctl, `epmd_port` where its Epmd does."""
        self.port = port
        self.password = password
        self.home = state / "rabbitmq"
        erlang = [
            "-kernel inet_dist_use_interface {127,0,0,1}",
            "+sbwt none +sbwtdcpu none +sbwtdio none",  # idle schedulers sleep: a laptop has other things to do
        ]
        super().__init__(
            state,
            "rabbitmq",
            [str(packages.RABBITMQ_SERVER)],
            {
                "HOME": str(self.home),  # of the cookie
                "RABBITMQ_NODENAME": "mediagen@localhost",
                "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
                "RABBITMQ_LOG_BASE": str(self.home / "log"),
                "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq"),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_DIST_PORT": str(dist_port),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(erlang),
                "ERL_EPMD_PORT": str(epmd_port),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "ERL_CRASH_DUMP": str(self.home / "erl_crash.dump"),
                "detached": "1",  # the script replaces itself: the pid is the broker's, not a shell's
            },
            lambda: probes.speaks_amqp(port),
            address=f"127.0.0.1:{port}",
        )

    def url(self, vhost: str = VHOST) -> str:
        """The address of a virtual host, as the services take it."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}/{vhost}"

    def prepare(self) -> None:
        """Write the configuration; the data of an earlier start stays."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "enabled_plugins").write_text("[].\n")
        definitions = self._write_definitions(VHOST)
        (self.home / "rabbitmq.conf").write_text(
            f"load_definitions = {definitions}\nraft.wal_max_size_bytes = {WAL_BYTES}\n"
            "log.console = true\nlog.console.level = info\nlog.file = false\n"
        )

    def add_vhost(self, name: str) -> None:
        """Create another virtual host with the same queues, policy and user."""
        self.control("import_definitions", str(self._write_definitions(name)))

    def sync(self) -> None:
        """Write the names of new queues to disk now: RabbitMQ 3.10 does so within 3 s, and killed earlier it forgets the queues."""
        self.control("eval", "mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()].")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it; its connections are closed."""
        self.control("delete_vhost", name)

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl against this broker and return what it prints."""
        done = subprocess.run(
            [str(packages.RABBITMQ_SERVER.with_name("rabbitmqctl")), "-q", *arguments],
            env={**os.environ, **self.environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartFailed(f"rabbitmqctl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip("\n")

    def _write_definitions(self, vhost: str) -> Path:
        """The shared definitions for one virtual host, with the user who may use it."""
        shared = json.loads(DEFINITIONS.read_text())
        grant = {"user": USER, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "users": [{"name": USER, "password": self.password, "tags": ["administrator"]}],
            "vhosts": [{"name": vhost}],
            "permissions": [grant],
            "queues": [{**queue, "vhost": vhost} for queue in shared["queues"]],
            "policies": [{**policy, "vhost": vhost} for policy in shared["policies"]],
        }
        file = self.home / f"definitions-{vhost}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(definitions, indent=1))
        return file
