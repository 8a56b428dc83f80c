"""Whether the gateway can do its work: `jobs` answers. RabbitMQ and S3 may be away, jobs are accepted all the same."""

import asyncio
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

INTERVAL_SECONDS = 1.0
"""Between two questions to `jobs`."""

FORGIVEN_SECONDS = 5.0
"""How long its last good answer counts."""


class JobsHealth:
    """Asks `jobs` for its health now and then, so that a probe costs nothing."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Not ready, until `jobs` has answered once."""
        self._stub = health_pb2_grpc.HealthStub(channel)
        self._served_at = float("-inf")

    def complaint(self) -> str | None:
        """None while `jobs` serves, otherwise a sentence."""
        if time.monotonic() - self._served_at > FORGIVEN_SECONDS:
            return "jobs does not answer"
        return None

    async def watch(self) -> None:
        """Asks for ever."""
        request = health_pb2.HealthCheckRequest(service="mediagen.jobs.v1.JobsService")
        while True:
            try:
                response = await self._stub.Check(request, timeout=INTERVAL_SECONDS)  # type: ignore[attr-defined]  # the stubs lack it
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    self._served_at = time.monotonic()
            except grpc.aio.AioRpcError:
                pass  # what counts is how long ago it served
            await asyncio.sleep(INTERVAL_SECONDS)
