"""A running system that a real Prometheus scrapes, with the chart's rules and times of a test; and what it says of it."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg
import httpx

from chaos.alerts.certificates import Certificate
from chaos.alerts.scale import write_scaled
from chaos.experiment import Experiment, begin
from chaos.links import Links
from monitoring.rule_files import ALERTS, FILES
from prometheus import LABELS, Prometheus, enable_metrics
from servers import Servers
from stack import Stack
from waiting import until

FIRES_WITHIN = 90.0
"""How soon after its cause an alert has to fire."""

QUIET_WITHIN = 90.0
"""How soon an alert has to be over that something else brought about."""

SLOW = {"jobs": "3s", "rabbitmq": "2s"}
"""Who is scraped more rarely: jobs waits for PostgreSQL for up to two seconds, and what comes later than the interval is lost."""

RULES = {alert.id: alert.rule for alert in ALERTS}
Instance = dict[str, Any]
"""An alert as Prometheus tells it: labels, annotations, state."""


class Watch(Prometheus):
    """The Prometheus of this test."""

    def labels(self, name: str) -> dict[str, str]:
        """cert-manager is in a namespace of its own, and of no release; RabbitMQ is of none of ours either."""
        labels = super().labels(name)
        if name == "cert-manager":
            return {**labels, "namespace": name, "release": ""}
        return {**labels, "release": ""} if name == "rabbitmq" else labels

    async def firing(self) -> dict[str, list[Instance]]:
        """The alerts that fire, by the id of their rule."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as http:
            answer = (await http.get("/api/v1/alerts")).raise_for_status().json()
        found: dict[str, list[Instance]] = {}
        for alert in answer["data"]["alerts"]:
            labels = alert["labels"]
            named = " ".join(labels[label] for label in ("alertname", "severity", "window") if label in labels)
            if alert["state"] == "firing":
                found.setdefault(named, []).append(alert)
        return found


class Watched:
    """The system, its Prometheus, and the ways to break it."""

    def __init__(self, experiment: Experiment, servers: Servers, watch: Watch, certificate: Certificate, http: httpx.AsyncClient):
        """`http` speaks to the gateway, as the tenant `tests`."""
        self.experiment = experiment
        self.servers = servers
        self.watch = watch
        self.certificate = certificate
        self.http = http
        self._rules: list[dict[str, Any]] = []
        self._changing = asyncio.Lock()

    @property
    def stack(self) -> Stack:
        """The system's processes."""
        return self.experiment.stack

    @property
    def links(self) -> Links:
        """The network between them."""
        return self.experiment.links

    async def fire(self, alerts: Iterable[str]) -> None:
        """Waits until each of these has fired, with all that its text needs; not all of them have to at once."""
        missing = set(alerts)

        async def all_fired() -> bool:
            firing = await self.watch.firing()
            for name in missing & firing.keys():
                for instance in firing[name]:
                    assert_complete(name, instance)
            missing.difference_update(firing)
            return not missing

        try:
            await until(all_fired, FIRES_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}; {sorted(missing)} did not fire; {await self._values(missing)}") from None

    async def quiet(self, alerts: Iterable[str]) -> None:
        """Waits until none of these fires."""
        wanted = set(alerts)

        async def none_fires() -> bool:
            return not wanted & (await self.watch.firing()).keys()

        try:
            await until(none_fires, QUIET_WITHIN)
        except AssertionError:
            raise AssertionError(f"after {QUIET_WITHIN:g} s there is still {await self.watch.firing()}") from None

    async def _values(self, alerts: Iterable[str]) -> dict[str, Any]:
        """What the expressions of alerts show now, without what they compare with."""
        shown = {}
        for name in alerts:
            for part in re.split(r"\band\b|\bor\b|\bunless\b", RULES[name]["expr"]):
                bare = re.split(r"\s(?:==|!=|>=|>|<)\s", part.strip())[0]
                with suppress(AssertionError):
                    shown[bare] = await self.watch.values(bare)
        return shown

    @contextlib.asynccontextmanager
    async def faults(self, *rules: dict[str, Any]) -> AsyncIterator[None]:
        """The simulator has these fault rules, besides those of others."""
        await self._change(lambda: self._rules.extend(rules))
        try:
            yield
        finally:
            await self._change(lambda: [self._rules.remove(rule) for rule in rules])

    async def _change(self, change: Callable[[], Any]) -> None:
        async with self._changing:
            change()
            await self.experiment.faults(*self._rules)

    @contextlib.asynccontextmanager
    async def unfinished(self, mark: str) -> AsyncIterator[str]:
        """A job that is not done, as its prediction takes a minute; yields its id."""
        async with self.faults({"effect": "prediction_duration", "seconds": 55, "when": {"prompt": f"[{mark}]"}}):
            (job_id,) = await self.experiment.post(1, f"[{mark}]")
            try:
                yield job_id
            finally:
                await self.experiment.recorder.cancel(job_id)

    @contextlib.asynccontextmanager
    async def repeating(self, ask: Callable[[], Awaitable[Any]], times: int = 1, pause: float = 0.2) -> AsyncIterator[None]:
        """Somebody, or so many at a time, ask for something again and again; what comes of it is not looked at.

        The last answers are waited for: requests of httpx that are cancelled may leave connections behind (test_httpcore.py).
        """
        enough = asyncio.Event()

        async def again() -> None:
            while not enough.is_set():
                with suppress(httpx.TransportError, AssertionError):
                    await ask()
                with suppress(TimeoutError):
                    await asyncio.wait_for(enough.wait(), pause)

        tasks = [asyncio.create_task(again()) for _ in range(times)]
        try:
            yield
        finally:
            enough.set()
            await asyncio.wait(tasks)
            for task in tasks:
                task.result()

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of somebody else's to the database, past the proxy."""
        connection = await asyncpg.connect(self.stack.services.database_url)
        try:
            yield connection
        finally:
            await connection.close()


def assert_complete(name: str, instance: Instance) -> None:
    """An alert says where it is, and every label that its text names is there."""
    labels, annotations = instance["labels"], instance["annotations"]
    assert labels["namespace"] == LABELS["namespace"], instance
    for label in re.findall(r"\$labels\.(\w+)", RULES[name]["annotations"]["description"]):
        assert labels.get(label), f"{name} has no {label}: {instance}"
    assert "<no value>" not in annotations["description"] and "<error" not in annotations["description"], annotations
    if "release" in RULES[name]["expr"]:
        assert labels["release"] == LABELS["release"], instance


@contextlib.asynccontextmanager
async def watching(servers: Servers) -> AsyncIterator[Watched]:
    """Starts the system and its Prometheus, and returns once every target was scraped."""
    async with AsyncExitStack() as kept:
        certificate = Certificate(servers.state / "certificates", "127.0.0.1")
        experiment = begin(kept, servers, "alerts", lambda what, seconds: None, **certificate.settings())
        kept.callback(certificate.close)
        others = {
            "rabbitmq": enable_metrics(servers.rabbitmq),
            "cert-manager": certificate.export(experiment.stack.port("JOBS_PORT")),
        }
        stack = experiment.stack
        watch = Watch(stack, write_scaled(FILES, stack.state / "rules"), others, SLOW)
        watch.start()
        kept.callback(watch.stop)
        watch.wait()
        http = await kept.enter_async_context(
            httpx.AsyncClient(base_url=stack.gateway_url, headers={"authorization": f"Bearer {stack.api_key}"}, timeout=30)
        )
        targets = len(stack.parts) - 1 + len(others)
        await until(lambda: watch.query(f"count(up == 1) == {targets}"), 60, what="every target to be scraped")
        yield Watched(experiment, servers, watch, certificate, http)
