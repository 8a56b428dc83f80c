"""All outputs of one prediction into the bucket, with the retries that each kind of failure deserves: none pays again."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from generator.bucket import Bucket, StorageFailed
from generator.metrics import retries
from generator.outputs import Inline, Linked, Source, UnusableOutput, Value
from generator.transfer import SourceFailed, Transfers
from mediagen.jobs.v1.worker_pb2 import StoredOutput

log = structlog.get_logger()

AT_ONCE_PER_JOB = 4
"""Outputs of one job that are copied at a time."""

AT_ONCE = 32
"""Outputs of all jobs that are copied at a time: each holds a few hundred kilobytes in flight."""

SOURCE_DELAYS = (1.0, 2.0, 4.0, 8.0)
"""Seconds between tries where the source broke off or has no such file; after the last one it is believed."""

STORAGE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries where the bucket refuses, or the source cannot be reached; the last one for as long as the output lives."""


MAX_VALUE_CHARACTERS = 1024 * 1024
"""The longest value that the job's row keeps."""


class StoringFailed(Exception):
    """The outputs could not all be stored."""

    def __init__(self, code: str, message: str, stored: Sequence[StoredOutput]) -> None:
        """`code` and the message are the job's; `stored` is what could be kept all the same."""
        super().__init__(message)
        self.code = code
        self.stored = stored


class Storing:
    """Stores outputs for all jobs of this generator."""

    def __init__(self, transfers: Transfers, bucket: Bucket) -> None:
        """`bucket` is told when it refuses."""
        self._transfers = transfers
        self._bucket = bucket
        self._places = asyncio.Semaphore(AT_ONCE)

    async def store(self, sources: Sequence[Source], prefix: str, expires_at: float) -> list[StoredOutput]:
        """Stores every source under `prefix`/index.extension until `expires_at` (monotonic); raises StoringFailed."""
        places = asyncio.Semaphore(AT_ONCE_PER_JOB)

        async def one(index: int, source: Source) -> StoredOutput | UnusableOutput:
            async with places:
                try:
                    return await self._persistently(source, f"{prefix}/{index}", index, expires_at)
                except UnusableOutput as error:
                    return error

        copies = [one(index, source) for index, source in enumerate(sources)]
        results = [await copies[0]] if len(copies) == 1 else await asyncio.gather(*copies)  # most jobs make one: no task for that
        stored = [result for result in results if isinstance(result, StoredOutput)]
        for result in results:
            if isinstance(result, UnusableOutput):
                raise StoringFailed(result.code, str(result), stored)
        return stored

    async def _persistently(self, source: Source, key: str, index: int, expires_at: float) -> StoredOutput:
        broken = refused = 0
        while True:
            try:
                return await self._once(source, key, index)
            except SourceFailed as error:
                if error.code == "output_unavailable":
                    delay, refused = STORAGE_DELAYS[min(refused, len(STORAGE_DELAYS) - 1)], refused + 1
                elif broken < len(SOURCE_DELAYS):
                    delay, broken = SOURCE_DELAYS[broken], broken + 1
                else:
                    raise UnusableOutput(error.code, str(error)) from None
                problem: Exception = error
            except StorageFailed as error:
                self._bucket.failed()
                delay, refused = STORAGE_DELAYS[min(refused, len(STORAGE_DELAYS) - 1)], refused + 1
                problem = error
            if time.monotonic() + delay > expires_at:
                raise UnusableOutput("output_expired", "The output could not be stored while Replicate kept it.") from problem
            retries.labels("store").inc()
            log.warning("output.retry", index=index, error=str(problem), retry_in=delay)
            await asyncio.sleep(delay)
            await self._bucket_usable(expires_at)

    async def _bucket_usable(self, expires_at: float) -> None:
        """Waits while the bucket refuses everything: fetching an output again would be in vain."""
        try:
            async with asyncio.timeout(max(0.0, expires_at - time.monotonic())):
                await self._bucket.usable.wait()
        except TimeoutError:
            pass

    async def _once(self, source: Source, key: str, index: int) -> StoredOutput:
        match source:
            case Linked(url):
                async with self._places:
                    return await self._transfers.fetch(url, key, index)
            case Inline():
                async with self._places:
                    return await self._transfers.keep(source.decode(), key, index)
            case Value(json, content_type):
                if len(json) > MAX_VALUE_CHARACTERS:
                    raise UnusableOutput("output_too_large", f"the model returned {len(json)} characters without a file")
                return StoredOutput(index=index, content_type=content_type, size=len(json.encode()), value=json)
