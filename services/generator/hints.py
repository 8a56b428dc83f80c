"""What jobs tells of webhooks that came: hints that come sooner than the next poll, or than the next look-up.

What a hint says is read at Replicate before anything is done about it. None of them is ever needed.
"""

import asyncio
import random

import grpc
import orjson
import structlog

from generator.create import cancel_orphan
from generator.jobs_client import JobsClient
from generator.leash import Leash
from generator.lookup import same_input, same_model
from generator.poller import Poller
from generator.reads import ReadBudget
from generator.replicate_api import NotFound, Prediction, ReadFailed, ReplicateApi
from generator.webhooks import intent_of
from mediagen.jobs.v1 import worker_pb2 as pb

log = structlog.get_logger()

WATCH_SECONDS = 240.0
"""How long one watch lasts: less than a connection to jobs does, so that it ends by itself and moves on to another instance."""

AGAIN_SECONDS = 1.0
"""How soon a watch is begun again at most; each failure in a row doubles it, up to a minute."""

MOST_FAILURES = 6
"""In a row, that the pause is doubled for."""

READ_AGAIN_SECONDS = (0.0, 0.5, 2.0)
"""How long is waited before each try to read a prediction that is said to be there."""


class Hints:
    """Listens to jobs for as long as the process lives."""

    def __init__(self, jobs: JobsClient, api: ReplicateApi, poller: Poller, budget: ReadBudget) -> None:
        """Nothing is asked before `run`. `budget` is shared with whatever else reads."""
        self._jobs = jobs
        self._api = api
        self._poller = poller
        self._budget = budget

    async def run(self, leash: Leash) -> None:
        """Listens until the drain. Whatever goes wrong costs speed, and nothing else."""
        await leash.held()
        failures = 0
        async with asyncio.TaskGroup() as looks:
            while not leash.draining:
                try:
                    async for news in self._jobs.watch_predictions(WATCH_SECONDS):
                        failures = 0
                        looks.create_task(self._heed(news))
                except grpc.aio.AioRpcError as error:
                    if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                        failures = min(failures + 1, MOST_FAILURES)
                        log.info("hints.lost", code=error.code().name, details=error.details())
                # Not all generators should come back in the same moment.
                await asyncio.sleep(min(60.0, AGAIN_SECONDS * 2**failures) * random.uniform(0.1, 1.0))  # noqa: S311

    async def _heed(self, news: pb.WatchPredictionsResponse) -> None:
        try:
            await asyncio.gather(self._poller.look_now(news.ended_prediction_ids), *map(self._check, news.creations))
        except Exception:  # one odd answer must not end the process, and with it every job
            log.exception("hints.crashed")

    async def _check(self, claimed: pb.ClaimedCreation) -> None:
        """Reports a prediction that a create of unknown outcome is said to have made, if it has."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(job_id=claimed.job_id, request_id=claimed.request_id)
        prediction = await self._read(claimed.prediction_id)
        if prediction is None or not made_by(claimed, prediction):
            log.warning("hint.not_believed", prediction_id=claimed.prediction_id, found=prediction is not None)
            return
        result = await self._jobs.record_prediction(
            pb.CreatedPrediction(job_id=claimed.job_id, intent_id=claimed.intent_id, prediction_id=claimed.prediction_id)
        )
        log.info("hint.recorded", prediction_id=claimed.prediction_id, result=pb.Result.Name(result))
        if result == pb.RESULT_ORPHAN:
            await cancel_orphan(self._api, claimed.prediction_id)

    async def _read(self, prediction_id: str) -> Prediction | None:
        """The prediction; None where Replicate does not show it: a new one may not be readable at once."""
        for seconds in READ_AGAIN_SECONDS:
            await asyncio.sleep(seconds)
            self._budget.spend()
            try:
                return await self._api.get(prediction_id)
            except (ReadFailed, NotFound) as error:
                log.info("hint.unreadable", prediction_id=prediction_id, error=f"{type(error).__name__}: {error}")
        return None


def made_by(claimed: pb.ClaimedCreation, prediction: Prediction) -> bool:
    """Whether a prediction is of this create: by the intent in its webhook, or where it shows none, by its model and its input."""
    if (intent := intent_of(prediction)) is not None:
        return intent == claimed.intent_id
    return same_model(claimed.model, prediction) and same_input(orjson.loads(claimed.input), prediction.get("input"))
