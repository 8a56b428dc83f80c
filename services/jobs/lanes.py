"""Lanes: one account at the provider each, with the budget that all generators share."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from jobs.tables import lanes


async def set_rates(engine: AsyncEngine, creates_per_minute: int, reads_per_minute: int) -> None:
    """Gives the lane the rates of the settings; what it has spent stays spent."""
    rates = {"creates_per_minute": creates_per_minute, "reads_per_minute": reads_per_minute}
    made = insert(lanes).values(
        name="default", create_tokens=max(1, creates_per_minute / 20), read_tokens=reads_per_minute / 6, **rates
    )
    async with engine.begin() as connection:
        await connection.execute(made.on_conflict_do_update(index_elements=["name"], set_=rates))
