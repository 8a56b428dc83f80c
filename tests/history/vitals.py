"""How much of the machine each process holds, and of PostgreSQL all of them together."""

import time
from collections.abc import Mapping

import asyncpg
import psutil

from history.evidence import Row


def sample(pids: Mapping[str, int]) -> list[Row]:
    """One row for each of these processes: memory, descriptors and TCP connections."""
    rows = []
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            rows.append(
                {
                    "at": time.time(),
                    "part": name,
                    "pid": pid,
                    "rss": process.memory_info().rss,
                    "descriptors": process.num_fds(),
                    "connections": len(process.net_connections(kind="tcp")),
                }
            )
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile
    return rows


async def sample_database(connection: asyncpg.Connection) -> Row:
    """The sessions of the connection's database, besides itself."""
    row = await connection.fetchrow(
        "SELECT count(*) AS sessions, count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS in_transaction, "
        "coalesce(extract(epoch FROM max(now() - xact_start)), 0)::float8 AS oldest_transaction "
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return {"at": time.time(), "part": "database", **dict(row)}
