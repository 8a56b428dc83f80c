"""The routes of uploaded files: create, list, get, download, delete."""

from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.account import Account
from simulator.calls import api_url, json_answer, reading
from simulator.problems import Problem, invalid_fields, not_found
from simulator.uploads import MAXIMAL_BYTES, Upload


def routes(account: Account) -> list[Route]:
    """The routes, relative to /v1."""

    async def create(request: Request) -> Any:
        upload = await _upload(request)
        account.uploads.add(upload)
        return json_answer(account, request, upload.view(api_url(request)), 201)

    async def page(request: Request) -> Any:
        results = [upload.view(api_url(request)) for upload in account.uploads.newest_first()]
        return json_answer(account, request, {"next": None, "previous": None, "results": results})

    async def get(request: Request) -> Any:
        return json_answer(account, request, _found(account, request).view(api_url(request)))

    async def download(request: Request) -> Any:
        upload = _found(account, request)
        return Response(upload.content, media_type=upload.content_type)

    async def delete(request: Request) -> Any:
        account.uploads.delete(_found(account, request).id)
        return Response(status_code=204)

    return [
        Route("/files", reading(account, "other", create), methods=["POST"]),
        Route("/files", reading(account, "other", page), methods=["GET"]),
        Route("/files/{file}", reading(account, "other", get), methods=["GET"]),
        Route("/files/{file}", reading(account, "other", delete), methods=["DELETE"]),
        Route("/files/{file}/download", reading(account, "other", download), methods=["GET"]),
    ]


async def _upload(request: Request) -> Upload:
    """The file of a multipart body: part `content`, and optionally `filename`, `type` and `metadata` (a JSON object)."""
    async with request.form() as form:
        content = form.get("content")
        if not isinstance(content, UploadFile):
            raise invalid_fields([{"type": "required", "field": "content", "description": "content is required"}])
        if (content.size or 0) > MAXIMAL_BYTES:
            raise Problem(413, "The file is too large.", "Request entity too large", {"status": 413})
        name = str(form.get("filename") or content.filename or "file")
        if len(name.encode()) > 255:
            raise invalid_fields([{"type": "too_long", "field": "filename", "description": "255 bytes at most"}])
        try:
            metadata = orjson.loads(str(form.get("metadata") or "{}"))
        except orjson.JSONDecodeError:
            raise invalid_fields([{"type": "invalid", "field": "metadata", "description": "Not JSON"}]) from None
        media_type = str(form.get("type") or content.content_type or "application/octet-stream")
        return Upload(name, media_type, await content.read(), metadata)


def _found(account: Account, request: Request) -> Upload:
    if (upload := account.uploads.get(request.path_params["file"])) is None:
        raise not_found()
    return upload
