"""A private PostgreSQL: its own data, its own port on loopback, a password, no socket file.

As root, PostgreSQL's programs refuse to run: they run as the user `postgres` then, with the data where that user can
go, and the instance's folder holds a link to it.
"""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import packages
from part import Part, PartFailed

USER = "mediagen"


class PostgreSQL(Part):
    """One server, with the superuser `mediagen`; `url` names a database in it."""

    def __init__(self, state: Path, port: int, password: str, *, durable: bool = True) -> None:
        """`durable=False` skips fsync: what a test needs to survive is a killed process, not a power cut."""
        self.port = port
        self.password = password
        self.link = state / "postgresql"
        self.data = _data_folder(state)
        programs = _programs_for(self.data)
        self._programs = programs
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "max_connections": "200",
            "shared_buffers": "256MB" if durable else "64MB",
            "fsync": "on" if durable else "off",
            "max_wal_size": "2GB",
            "log_line_prefix": "%m [%p] ",
            "timezone": "UTC",
        }
        flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
        super().__init__(
            state,
            "postgresql",
            [*_as_its_user(), str(programs / "postgres"), "-D", str(self.data), *flags],
            {"LC_ALL": "C.UTF-8"},
            self._accepts_sessions,
            address=f"127.0.0.1:{port}",
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for every client to leave
        )

    def url(self, database: str = USER) -> str:
        """The address of a database, as the services take it."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def is_new(self) -> bool:
        """Whether there is no data yet.

        Data that the instance's folder does not link to counts as none: the folder was deleted, and the password with it.
        """
        return not _present(self.data / "PG_VERSION") or not (self.link == self.data or self.link.is_symlink())

    def prepare(self) -> None:
        """Create the data folder, once."""
        if not self.is_new():
            return
        self.remove_data()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700)
        password_file = self.data.with_name(f"{self.data.name}.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self.data, password_file):
                shutil.chown(path, "postgres", "postgres")
        try:
            self._run(
                str(self._programs / "initdb"),
                *("-D", str(self.data), "-U", USER, f"--pwfile={password_file}", "-A", "scram-sha-256"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
            )
        finally:
            password_file.unlink()
        if self.link != self.data:
            self.link.unlink(missing_ok=True)
            self.link.parent.mkdir(parents=True, exist_ok=True)
            self.link.symlink_to(self.data)

    def check(self) -> bool:
        """Whether sessions are accepted; then the default database is made, if it is missing."""
        ready = super().check()
        if ready and USER not in self.execute("SELECT datname FROM pg_database").splitlines():
            self.create_database(USER)
        return ready

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement through psql; the answer has a line a row."""
        return self._run(
            str(self._programs / "psql"),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database),
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement),
        )

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database, as a copy of another one that nobody is connected to."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def remove_data(self) -> None:
        """Delete everything that is stored; the server must not run."""
        shutil.rmtree(self.data, ignore_errors=True)
        if self.link.is_symlink():
            self.link.unlink()

    def _accepts_sessions(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, *command: str) -> str:
        environment = {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [*_as_its_user(), *command],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PartFailed(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
        return done.stdout.strip()


def _as_its_user() -> Sequence[str]:
    """The words before a PostgreSQL program: none, unless root calls it."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")


def _data_folder(state: Path) -> Path:
    """Where the data lies: in the instance's folder, or, for root, in the home of the user `postgres`."""
    if os.geteuid() != 0:
        return state / "postgresql"
    name = hashlib.sha256(str(state).encode()).hexdigest()[:12]
    return Path(pwd.getpwnam("postgres").pw_dir) / f"mediagen-{name}"


def _programs_for(data: Path) -> Path:
    """The folder of the programs that can read this data: its own major version's, or the newest for new data."""
    installed = packages.postgresql_programs()
    version = data / "PG_VERSION"
    if not installed:
        raise PartFailed("PostgreSQL is not installed: run make setup")
    if not _present(version):
        return installed[0]
    wanted = version.read_text().strip()
    for folder in installed:
        if folder.parent.name == wanted or len(installed) == 1:
            return folder
    raise PartFailed(f"the data in {data} is of PostgreSQL {wanted}, which is not installed any more")


def _present(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # data that another user made, as root once and as oneself now
        return False
