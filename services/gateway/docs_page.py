"""`/docs`: Swagger UI from this server alone, so that it works without the internet and under a strict content security policy."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import swagger_ui_bundle  # type: ignore[import-untyped]
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, RedirectResponse, Response

from gateway import openapi

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon-32x32.png": "image/png"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mediagen API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"><noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> does not.</noscript></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true, tryItOutEnabled: true});\n'

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles from its script, and draws its icons from data URLs."""


def add_docs(app: FastAPI) -> None:
    """Adds the OpenAPI document of all routes that are there already, and the page that shows it."""
    document = orjson.dumps(openapi.document(app))
    folder = Path(str(swagger_ui_bundle.swagger_ui_path))

    async def openapi_json() -> Response:
        return Response(document, media_type="application/json")

    async def docs() -> Response:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    async def root() -> Response:
        return RedirectResponse("docs")

    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404)
        return FileResponse(folder / name, media_type=_ASSETS[name], headers={"Cache-Control": "public, max-age=86400"})

    pages: dict[str, Callable[..., Awaitable[Response]]] = {
        "/openapi.json": openapi_json,
        "/docs": docs,
        "/docs/start.js": start,
        "/docs/{name}": asset,
        "/": root,
    }
    for path, handler in pages.items():
        app.add_api_route(path, handler, methods=["GET", "HEAD"], include_in_schema=False)
