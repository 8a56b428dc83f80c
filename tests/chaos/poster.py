"""A client without patience, before a service whose PostgreSQL fails."""

import time

from chaos.experiment import Experiment
from waiting import until

WRITES_AGAIN_WITHIN = 10.0
"""How soon after PostgreSQL's return a job has to be accepted."""


class Poster:
    """Posts without patience: each answer is 202, or 503 with a Retry-After."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.accepted: list[str] = []

    async def post(self) -> bool:
        """Whether one job was accepted."""
        note = await self.experiment.recorder.post_once("posted once")
        if note["status"] == 202:
            self.accepted.append(note["job"])
            return True
        assert note["status"] == 503, note
        assert int(note["retry_after"]) >= 1
        return False

    async def is_refused(self) -> None:
        """Posts until it is told that the service cannot answer."""

        async def refused() -> bool:
            return not await self.post()

        await until(refused, 60, what="a 503")

    async def accepted_again(self, what: str) -> None:
        """Posts until it is accepted, which may not take long."""
        began = time.monotonic()
        await until(self.post, 60, what="an accepted job")
        took = time.monotonic() - began
        self.experiment.note(f"{what} to the first write", took)
        assert took < WRITES_AGAIN_WITHIN, what
