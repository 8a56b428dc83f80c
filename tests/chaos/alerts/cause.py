"""What a cause is: something that goes wrong for as long as a context lasts, and the alerts that have to tell of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from chaos.alerts.watched import Watched

Bring = Callable[[Watched], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Cause:
    """One of them."""

    bring: Bring
    alerts: tuple[str, ...]
    """Ids of the alerts' rules: name, severity, and window where there are several."""
    quiet_before: bool = True
    """Whether none of them may fire before."""

    @property
    def name(self) -> str:
        """In words."""
        return self.bring.__name__

    async def happen(self, system: Watched) -> None:
        """Brings it about, waits until every alert fires, and ends it."""
        if self.quiet_before:
            await system.quiet(self.alerts)
        async with self.bring(system):
            await system.fire(self.alerts)


def causes(*alerts: str, quiet_before: bool = True) -> Callable[[Callable[[Watched], AsyncIterator[None]]], Cause]:
    """Makes a cause of an asynchronous generator: what is before its `yield` brings it about, what is after it ends it."""

    def made(bring: Callable[[Watched], AsyncIterator[None]]) -> Cause:
        return Cause(asynccontextmanager(bring), alerts, quiet_before)

    return made
