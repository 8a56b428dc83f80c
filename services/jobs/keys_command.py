"""python -m jobs keys: make, list and revoke API keys."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.lifecycle import StartupError
from chassis.settings import load_settings
from jobs import keys
from jobs.database import Database
from jobs.migrate import check_schema, wait_for_database
from jobs.settings import DatabaseSettings

Answer = TypeVar("Answer")

cli = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


def _with_engine(work: Callable[[AsyncEngine], Awaitable[Answer]]) -> Answer:
    settings = load_settings(DatabaseSettings)

    async def connected() -> Answer:
        database = Database(str(settings.database_url), pool_size=2)
        try:
            await wait_for_database(database.engine)
            await check_schema(database.engine)
            return await work(database.engine)
        finally:
            await database.close()

    try:
        return asyncio.run(connected())
    except StartupError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise typer.Exit(2) from None


@cli.command("create")
def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs the key sees; a new name makes a new tenant.")],
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "",
) -> None:
    """Make a key and print it, this once; only its hash is kept."""
    key = _with_engine(lambda engine: keys.create_key(engine, tenant, name))
    print(key)  # noqa: T201
    print(f"An API key of tenant {tenant}. Keep it: it cannot be shown again.", file=sys.stderr)  # noqa: T201


@cli.command("list")
def list_() -> None:
    """List every key, without its secret."""
    table = Table("id", "tenant", "name", "begins with", "created", "revoked")
    for row in _with_engine(keys.list_keys):
        table.add_row(*[str(value) if value is not None else "" for value in row])
    Console().print(table)


@cli.command("revoke")
def revoke(key_id: Annotated[UUID, typer.Argument(help="The key's id, as `list` shows it.")]) -> None:
    """End a key; it stops working within seconds."""
    if not _with_engine(lambda engine: keys.revoke_key(engine, key_id)):
        print(f"There is no key {key_id} that still works.", file=sys.stderr)  # noqa: T201
        raise typer.Exit(2)
