"""`/api/v1/images/{job_id}/{index}`: an output of a job, streamed from the bucket to whoever has the key or the link."""

import re
from pathlib import PurePosixPath
from typing import Annotated

import aiohttp
import structlog
from fastapi import FastAPI, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway import openapi
from gateway.caller import Caller
from gateway.conditional import Unsatisfiable, if_none_match, requested_span
from gateway.job_id import JobId, checked_job_id
from gateway.jobs_client import JobsClient
from gateway.object_store import ObjectStore, OpenObject
from gateway.problems import ProblemError
from mediagen.jobs.v1 import jobs_pb2

log = structlog.get_logger()

SHOWN = frozenset(
    {
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"),
        *("video/mp4", "video/webm", "video/quicktime", "video/ogg"),
        *("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/flac", "audio/wav", "audio/x-wav", "audio/webm"),
    }
)
"""Media types that a browser may show in place: they cannot hold scripts. All others, SVG and HTML among them, are downloads."""

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class MediaRoutes:
    """The handler of outputs."""

    def __init__(self, jobs: JobsClient, store: ObjectStore) -> None:
        """`jobs` says who may read what, `store` has the bytes."""
        self._jobs = jobs
        self._store = store

    def add_to(self, app: FastAPI) -> None:
        """Adds it to the application."""
        for method in ("GET", "HEAD"):
            app.add_api_route(
                "/api/v1/images/{job_id}/{index}",
                self.read,
                methods=[method],
                name="read_output",
                operation_id="read_output",
                include_in_schema=method == "GET",
                response_class=Response,
                summary="Read an output",
                responses=openapi.media(),
                openapi_extra={"security": [{"api_key": []}, {}]},
                tags=["media"],
            )

    async def read(
        self,
        request: Request,
        job_id: JobId,
        index: Annotated[int, Path(ge=0, le=9999, description="The output's place, from 0.")],
        sig: Annotated[
            str, Query(max_length=512, description="From `media_url` or `outputs[].url`: who has it needs no key.")
        ] = "",
    ) -> Response:
        """Streams the file, or the part of it that `Range` names. What it holds never changes."""
        caller = Caller.anonymous(request) if sig else Caller.of(request)
        output = await self._jobs.output(caller, checked_job_id(job_id), index, sig)
        size, etag = output.size, f'"{output.sha256}"'
        headers = _headers(output, f"{job_id}-{index}", etag)
        if if_none_match(request.headers, etag):
            return Response(status_code=304, headers=headers)
        try:
            span = requested_span(request.headers, etag, size) if request.method == "GET" else None
        except Unsatisfiable:
            raise ProblemError(
                416, "range_not_satisfiable", f"The file has {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
            ) from None
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
        headers["Content-Length"] = str(span.length if span else size)
        status = 206 if span else 200
        if request.method == "HEAD" or not size:
            return Response(status_code=status, headers=headers)
        return StreamedObject(await self._store.open(output.object_key, size, span), status, headers)


class StreamedObject(StreamingResponse):
    """An answer whose bytes come from S3. It ends the download in every case, and cuts itself off where S3 does."""

    def __init__(self, opened: OpenObject, status: int, headers: dict[str, str]) -> None:
        """Takes over `opened`."""
        super().__init__(opened.chunks(), status, headers)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._opened.close()

    async def stream_response(self, send: Send) -> None:
        """Streams, and leaves the answer unfinished where S3 fails: the reader then sees that bytes are missing."""
        try:
            await super().stream_response(send)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("object_store.lost", error=f"{type(error).__name__}: {error}")


def _headers(output: jobs_pb2.Output, name: str, etag: str) -> dict[str, str]:
    suffix = PurePosixPath(output.object_key).suffix
    filename = name + (suffix if _SUFFIX.fullmatch(suffix) else "")
    shown = output.content_type in SHOWN
    return {
        "Content-Type": output.content_type or "application/octet-stream",
        "Content-Disposition": f'{"inline" if shown else "attachment"}; filename="{filename}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",  # links are made to be put into other sites' pages
        "Cache-Control": "private, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
