"""An S3 server that holds a dictionary, for what a real one does not do at will: ignore Range, fail, end early."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from chassis.settings import HostPort


class FakeS3:
    """Its objects by path (/bucket/key), and how it behaves."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.objects: dict[str, bytes] = {}
        self.ignores_range = False
        self.sends_parts_with_200 = False
        self.shifts_ranges = False
        self.status = 200
        self.cut_after: int | None = None
        self.ahead = timedelta()
        """How far its clock is ahead of ours. It refuses what was signed 15 minutes before or after its own time."""
        self.requests: list[web.Request] = []
        self.ended = 0

    async def get(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._get(request)
        finally:
            self.ended += 1

    async def _get(self, request: web.Request) -> web.StreamResponse:
        now = datetime.now(UTC) + self.ahead
        date = {"Date": format_datetime(now, usegmt=True)}
        if abs(now - datetime.strptime(request.query["X-Amz-Date"], "%Y%m%dT%H%M%S%z")) > timedelta(minutes=15):
            return web.Response(status=403, text="<Error><Code>RequestTimeTooSkewed</Code></Error>", headers=date)
        self.requests.append(request)
        if self.status != 200:
            return web.Response(status=self.status, text="<Error/>", headers=date)
        content = self.objects.get(request.path)
        if content is None:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        status, headers = 200, date
        wanted = request.http_range
        if not self.ignores_range and (wanted.start is not None or wanted.stop is not None):
            first = wanted.start + self.shifts_ranges
            headers["Content-Range"] = f"bytes {first}-{wanted.stop - 1 + self.shifts_ranges}/{len(content)}"
            status, content = 200 if self.sends_parts_with_200 else 206, content[wanted]
        response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: self.cut_after])
        if self.cut_after is not None:
            assert request.transport is not None
            request.transport.close()
        return response

    @asynccontextmanager
    async def serving(self, listen: HostPort) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.get)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, *listen).start()
        try:
            yield
        finally:
            await runner.cleanup()
