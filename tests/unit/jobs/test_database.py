"""A statement whose caller has gone ends without a word; a server that takes no sessions is away."""

import asyncio
import contextlib
import gc

import pytest
from sqlalchemy import text

from chassis.errors import AppError
from jobs.database import Database
from ports import any_free_port


async def test_a_statement_that_fails_after_its_caller_was_cancelled_is_nobodys_error():
    loop, errors = asyncio.get_running_loop(), []
    database = Database(f"postgresql://nobody@127.0.0.1:{any_free_port()}/nothing", pool_size=1)
    started, others = asyncio.Event(), asyncio.all_tasks()
    caller = asyncio.create_task(database.fetch("SELECT 1"))
    loop.call_soon(started.set)
    await started.wait()
    (statement,) = asyncio.all_tasks() - others - {caller}
    caller.cancel()
    loop.set_exception_handler(lambda _, context: errors.append(context["message"]))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await caller
        await asyncio.wait({statement})
        del statement
        gc.collect()
    finally:
        loop.set_exception_handler(None)
        await database.close()
    assert errors == []


async def refuse(sqlstate: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What PostgreSQL says to a client for which it has no session."""
    await reader.readexactly(8)  # may it be TLS?
    writer.write(b"N")
    length = int.from_bytes(await reader.readexactly(4), "big")
    await reader.readexactly(length - 4)
    fields = f"SFATAL\0VFATAL\0C{sqlstate}\0Mno session for you\0\0".encode()
    writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("sqlstate", ["57P03", "53300"])  # it starts up or shuts down; it has no connection left
async def test_a_server_that_takes_no_sessions_is_away(sqlstate: str):
    server = await asyncio.start_server(lambda reader, writer: refuse(sqlstate, reader, writer), "127.0.0.1", 0)
    database = Database(f"postgresql://nobody@127.0.0.1:{server.sockets[0].getsockname()[1]}/nothing", pool_size=1)

    async def through_sqlalchemy() -> None:
        async with database.connected() as connection:
            await connection.execute(text("SELECT 1"))

    try:
        for ask in (lambda: database.fetch("SELECT 1"), through_sqlalchemy):
            with pytest.raises(AppError) as away:
                await ask()
            assert away.value.reason == "UNAVAILABLE"
    finally:
        await database.close()
        server.close()
