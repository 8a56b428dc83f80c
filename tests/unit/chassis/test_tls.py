"""gRPC over TLS: who is believed, who is asked for a certificate, and certificates that are renewed while a server runs."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
import trustme

from chassis.channel import channel
from chassis.lifecycle import StartupError
from chassis.rpc import serving_grpc
from chassis.settings import HostPort
from chassis.tls import ClientTls, ServerTls
from ports import any_free_port

METHOD = "/tests.Echo/Echo"


async def echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


def register(server: grpc.aio.Server) -> None:
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo, bytes, bytes)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Echo", handlers),))


async def anybody(token: str | None) -> None:
    """Authenticates."""


def issue(authority: trustme.CA, folder: Path, name: str = "localhost") -> tuple[Path, Path, Path]:
    """tls.crt, tls.key and ca.crt, as a Secret of cert-manager has them."""
    folder.mkdir(exist_ok=True)
    issued = authority.issue_cert(name)
    cert, key, ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(ca)
    return cert, key, ca


async def call(port: int, tls: ClientTls | None) -> str:
    """The code of one call on a connection of its own, which is given up soon where it cannot be made."""
    async with channel(HostPort("localhost", port), tls) as connection:
        try:
            await connection.unary_unary(METHOD)(b"x", timeout=5)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return "OK"


async def serve(stack: AsyncExitStack, tls: ServerTls) -> int:
    port = any_free_port()
    serving = serving_grpc(
        HostPort("127.0.0.1", port), [], register, anybody, asyncio.Event(), tls=tls, notice_seconds=0, drain_seconds=0
    )
    await stack.enter_async_context(serving)
    return port


async def test_only_who_knows_the_authority_is_served_and_nobody_without_tls(tmp_path):
    cert, key, ca = issue(trustme.CA(), tmp_path / "server")
    _, _, another = issue(trustme.CA(), tmp_path / "another")
    async with AsyncExitStack() as stack:
        port = await serve(stack, ServerTls(cert, key, None))
        assert await call(port, ClientTls(ca, None, None)) == "OK"
        assert await call(port, ClientTls(another, None, None)) != "OK"
        assert await call(port, None) != "OK"


async def test_a_certificate_for_another_name_is_not_believed(tmp_path):
    cert, key, ca = issue(trustme.CA(), tmp_path / "server", "elsewhere.example.com")
    async with AsyncExitStack() as stack:
        port = await serve(stack, ServerTls(cert, key, None))
        assert await call(port, ClientTls(ca, None, None)) != "OK"


async def test_with_mutual_tls_a_client_needs_a_certificate_of_the_right_authority(tmp_path):
    authority = trustme.CA()
    cert, key, ca = issue(authority, tmp_path / "server")
    mine, my_key, _ = issue(authority, tmp_path / "client", "gateway")
    foreign, foreign_key, _ = issue(trustme.CA(), tmp_path / "foreign", "gateway")
    async with AsyncExitStack() as stack:
        port = await serve(stack, ServerTls(cert, key, ca))
        assert await call(port, ClientTls(ca, mine, my_key)) == "OK"
        assert await call(port, ClientTls(ca, None, None)) != "OK"
        assert await call(port, ClientTls(ca, foreign, foreign_key)) != "OK"


async def test_a_server_shows_a_renewed_certificate_without_a_restart(tmp_path):
    cert, key, old = issue(trustme.CA(), tmp_path / "server")
    old_ca = tmp_path / "old.crt"
    old_ca.write_bytes(old.read_bytes())
    async with AsyncExitStack() as stack:
        port = await serve(stack, ServerTls(cert, key, None))
        assert await call(port, ClientTls(old_ca, None, None)) == "OK"
        _, _, new_ca = issue(trustme.CA(), tmp_path / "server")
        assert await call(port, ClientTls(new_ca, None, None)) == "OK"
        assert await call(port, ClientTls(old_ca, None, None)) != "OK"


async def test_a_file_that_is_missing_is_named(tmp_path):
    missing = tmp_path / "tls.crt"
    with pytest.raises(StartupError, match=r"tls\.crt"):
        async with AsyncExitStack() as stack:
            await serve(stack, ServerTls(missing, missing, None))
