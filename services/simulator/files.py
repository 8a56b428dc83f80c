"""The second port: output files, served to whoever knows their URL, with every fault that a file host can have."""

import time

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from simulator import file_rules
from simulator.account import Account
from simulator.bodies import Body
from simulator.connection import with_connections
from simulator.faults import Target
from simulator.library import Library
from simulator.prediction import Prediction

_PAGE = "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>\n"


def create_files_app(account: Account, library: Library) -> ASGIApp:
    """The application of the file port: GET and HEAD of /xezq/{token}/{name}."""

    async def download(request: Request) -> Response | Body:
        account.ledger.downloads += 1
        if "authorization" in request.headers:
            account.ledger.authorization_seen_on_files = True
        prediction = account.predictions.with_token(request.path_params["token"])
        now = time.time()
        if prediction is None or prediction.removed(now, account.settings.retention_seconds):
            return Response("Not Found", 404)
        names = [file.name for file in prediction.files]
        if request.path_params["name"] not in names or prediction.at(now)[0] != "succeeded":
            return Response("Not Found", 404)
        prediction.downloads += 1
        return await _answer(account, library, request, prediction, names.index(request.path_params["name"]))

    return with_connections(Starlette(routes=[Route("/xezq/{token}/{name}", download, methods=["GET"])]))


async def _answer(account: Account, library: Library, request: Request, prediction: Prediction, index: int) -> Response | Body:
    """The file, or what a fault rule puts in its place."""
    target = Target(prediction.model.name, prediction.prompt, index=index)
    slow = account.faults.take(file_rules.FileSlow, target)
    if slow is not None:
        await anyio.sleep(slow.seconds)
    fault = account.faults.take(file_rules.FILE_BREAKERS, target)
    match fault:
        case file_rules.FileAnswer():
            return Response("Not Found" if fault.status == 404 else "Refused by a fault rule", fault.status)
        case file_rules.FileRedirect():
            return Response(status_code=fault.status, headers={"Location": fault.to or str(request.url)})
        case file_rules.FileHtml():
            return Response(_PAGE, headers={"Content-Type": fault.content_type})
    file = prediction.files[index]
    size = fault.size if isinstance(fault, file_rules.FileBig) else None
    body = Body.whole(await library.file(prediction, index), file.media_type, size)
    body.bytes_per_second = slow.bytes_per_second if slow else None
    match fault:
        case file_rules.FileTruncated():
            body.stop = int(body.size * fault.keep)
            body.length = {"full": body.size, "short": body.stop, "none": None}[fault.length]
            body.hangs_up = fault.length != "short"
            return body
        case file_rules.FileChunked() | file_rules.FileBig(length=False):
            body.length = None
        case _ if request.headers.get("if-none-match") == body.etag:
            return Response(status_code=304, headers={"ETag": body.etag})
        case _ if request.headers.get("if-range", body.etag) == body.etag and not body.keep_range(request.headers.get("range", "")):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{body.size}"})
    body.on_sent = lambda size, sha256: prediction.served.update(
        {file.name: {"content_type": file.media_type, "size": size, "sha256": sha256}}
    )
    return body
