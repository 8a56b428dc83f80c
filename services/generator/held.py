"""One job in this generator's hands, and how to finish what must not be left half done."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mediagen.jobs.v1.worker_pb2 import Grant, HeldJob

Value = TypeVar("Value")


@dataclass(eq=False)
class Held:
    """A granted job from its claim until this generator lets go of it."""

    grant: Grant
    """The job, its epoch, and what is asked."""
    end_asked: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done once its end was asked for: a future, as waiting for it takes no task of its own."""
    progress: float | None = None
    """How far its prediction is, from 0 to 1."""
    provider_status: str = ""
    """Replicate's own status of it."""
    settled: bool = False
    """Whether its outcome here was reported or its epoch passed, so that there is nothing to give back."""
    error: str = ""
    """The error_code that it came to here, whether it is final or not."""
    task: asyncio.Task[None] | None = None
    """What works on it."""
    granted_at: float = field(default_factory=time.monotonic)
    """When it was granted, by the monotonic clock."""
    asked_at: float = field(default_factory=time.monotonic)
    """When it was claimed, by the monotonic clock: an intent that came with the grant is no older."""
    creating: bool = False
    """Whether what becomes of its create is reported by what makes it, even in a drain."""
    on_ending: Callable[["Held"], None] = lambda _: None
    """Called with it once only the report of its end is left to do: it takes no slot any more."""
    _told: tuple[float | None, str] = (None, "")

    def __post_init__(self) -> None:
        """A grant may come with its cancellation."""
        if self.grant.cancel_requested:
            self.ask_end()

    def ask_end(self) -> None:
        """Its end is asked for, maybe not for the first time."""
        if not self.end_asked.done():
            self.end_asked.set_result(None)

    def heartbeat_entry(self) -> HeldJob:
        """Its entry in a heartbeat: what has changed since the last one that was answered."""
        entry = HeldJob(job_id=self.grant.job_id, epoch=self.grant.epoch)
        if self.progress is not None and self.progress != self._told[0]:
            entry.progress = self.progress
        if self.provider_status != self._told[1]:
            entry.provider_status = self.provider_status
        return entry

    def told(self, entry: HeldJob) -> None:
        """That entry was answered."""
        self._told = (
            entry.progress if entry.HasField("progress") else self._told[0],
            entry.provider_status or self._told[1],
        )


async def to_its_end(work: Coroutine[Any, Any, Value]) -> Value:
    """Runs `work` to its end even where the caller is cancelled meanwhile; the cancellation comes through after that."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break  # raised again below
    if cancelled is not None and not task.cancelled():
        task.exception()  # seen: the cancellation is what the caller gets
        raise cancelled
    return task.result()
