"""A real Prometheus, of the distribution, that scrapes a running system every second and evaluates the chart's rules."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

import packages
import ports
import probes
from part import Part
from rabbitmq import RabbitMQ
from stack import Stack

LABELS = {"namespace": "media", "release": "demo"}
"""What the chart's monitors add, beside the labels of the pod."""


def enable_metrics(rabbitmq: RabbitMQ) -> str:
    """Has RabbitMQ tell its own metrics, as host:port."""
    if "rabbitmq_prometheus" in (rabbitmq.home / "enabled_plugins").read_text():
        _plugins(rabbitmq, "disable")  # another test's: the port is taken from the settings when it starts
    port = ports.any_free_port()
    rabbitmq.control("eval", f'application:set_env(rabbitmq_prometheus, tcp_config, [{{port, {port}}}, {{ip, "127.0.0.1"}}]).')
    _plugins(rabbitmq, "enable")
    return f"127.0.0.1:{port}"


def _plugins(rabbitmq: RabbitMQ, verb: str) -> None:
    subprocess.run(
        [str(packages.RABBITMQ_SERVER.with_name("rabbitmq-plugins")), "-q", verb, "rabbitmq_prometheus"],
        env={**os.environ, **rabbitmq.environment},
        cwd="/",
        capture_output=True,
        check=True,
    )


class Prometheus(Part):
    """One server, which ends with the session's other processes; `query` asks it."""

    def __init__(
        self, stack: Stack, rules: Sequence[Path], others: dict[str, str], intervals: Mapping[str, str] | None = None
    ) -> None:
        """Scrapes the services of `stack`, and `others`: name of the job to host:port. `intervals` are those that are no second."""
        self.home = stack.state / "prometheus"
        self.port = ports.any_free_port()
        self._rules = rules
        self._intervals = intervals or {}
        self._targets = {
            **{part: stack.metrics_url(part).removeprefix("http://") for part in stack.parts if part != "simulator"},
            **others,
        }
        super().__init__(
            stack.state,
            "prometheus",
            [
                shutil.which("prometheus") or "prometheus",
                f"--config.file={self.home / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.home / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            {},
            lambda: probes.answers_http(self.port, "/-/ready", only_ok=True),
        )

    def prepare(self) -> None:
        """Write the configuration. Rules that are evaluated more rarely keep up with the others here."""
        self.home.mkdir(parents=True, exist_ok=True)
        for path in self._rules:
            (self.home / path.name).write_text(re.sub(r"(?m)^    interval: .*$", "    interval: 1s", path.read_text()))
        self._configure()

    def labels(self, name: str) -> dict[str, str]:
        """What is added to the series of a target."""
        job = re.sub(r"-\d+$", "", name)
        return {**LABELS, "job": job, "pod": name, "container": job, "endpoint": "metrics"}

    def lose(self, name: str) -> None:
        """Lets it find a target no longer, as where the pod is gone."""
        self._write_targets(name, [])

    def _configure(self) -> None:
        for name, target in self._targets.items():
            self._write_targets(name, [{"targets": [target], "labels": self.labels(name)}])
        scrapes = [
            {
                "job_name": name,
                "scrape_interval": self._intervals.get(name, "1s"),
                "scrape_timeout": self._intervals.get(name, "1s"),
                "file_sd_configs": [{"files": [str(self._targets_file(name))], "refresh_interval": "1s"}],
            }
            for name in self._targets
        ]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(self.home / path.name) for path in self._rules],
            "scrape_configs": scrapes,
        }
        (self.home / "prometheus.yml").write_text(yaml.safe_dump(settings))

    def _targets_file(self, name: str) -> Path:
        return self.home / "targets" / f"{name}.json"

    def _write_targets(self, name: str, groups: list[dict[str, Any]]) -> None:
        """Discovery, as a cluster's: of a series whose target is not found any more Prometheus knows at once that it has ended."""
        file = self._targets_file(name)
        file.parent.mkdir(exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(groups))
        fresh.replace(file)

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression has now; raises what Prometheus says of a wrong one."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as http:
            answer = (await http.get("/api/v1/query", params={"query": expr})).json()
        assert answer["status"] == "success", (expr, answer)
        return answer["data"]["result"]

    async def values(self, expr: str) -> list[float]:
        """The numbers alone."""
        return [float(series["value"][1]) for series in await self.query(expr)]
