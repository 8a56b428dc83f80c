"""Servers that do nothing: `python -m bench.bare starlette|fastapi|echo PORT`. The first two run as the gateway does."""

import asyncio
import sys
from typing import Any

import grpc
import orjson
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chassis.http import serving
from chassis.settings import HostPort


class Hello(BaseModel):
    """What a create's body holds."""

    prompt: str
    model: str
    parameters: dict[str, Any]


def starlette() -> Starlette:
    """Thin handlers, as the gateway's hot ones."""
    adapter = TypeAdapter(Hello)

    async def post(request: Request) -> Response:
        job = adapter.validate_json(await request.body())
        return Response(orjson.dumps({"status": "pending", "prompt": job.prompt}), 202, media_type="application/json")

    async def get(_: Request) -> Response:
        return Response(orjson.dumps({"status": "pending"}), media_type="application/json")

    return Starlette(routes=[Route("/", post, methods=["POST"]), Route("/", get, methods=["GET"])])


def fastapi() -> FastAPI:
    """Models in and out."""
    app = FastAPI()

    @app.post("/", status_code=202)
    async def post(job: Hello) -> Hello:
        return job

    return app


async def serve_http(app: Any, port: int) -> None:
    """Until it is killed."""
    async with serving(app, HostPort("127.0.0.1", port)):
        await asyncio.Event().wait()


async def serve_echo(port: int) -> None:
    """Until it is killed: bytes come back as they are."""

    async def echo(request: bytes, _: Any) -> bytes:
        return request

    server = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Echo", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    uvloop.run(serve_echo(port) if kind == "echo" else serve_http({"starlette": starlette, "fastapi": fastapi}[kind](), port))
