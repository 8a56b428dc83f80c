"""How many jobs of a tenant may wait: past its cap a tenant is told to come back, so that no backlog grows without end."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import grpc

from chassis.errors import AppError
from jobs.database import Database
from jobs.keys import Tenant

FRESH_SECONDS = 1.0
"""How long a count is believed; what this service accepts meanwhile is added to it."""

RETRY_AFTER_SECONDS = 5.0


@dataclass
class Count:
    """How many of a tenant's jobs wait, as far as this service knows."""

    waiting: int
    counted_at: float


class Admission:
    """Counts each tenant's waiting jobs at most once a second, and never further than to its cap."""

    def __init__(self, database: Database, max_waiting: int) -> None:
        """`max_waiting` holds for tenants that have no number of their own."""
        self._database = database
        self._max_waiting = max_waiting
        self._counts: dict[UUID, Count] = {}

    async def admit(self, wanted: Mapping[Tenant, int]) -> dict[UUID, int]:
        """How many of so many more jobs each tenant may have now, by its id; they count from this moment on."""
        caps = {tenant.id: self._max_waiting if tenant.max_waiting is None else tenant.max_waiting for tenant in wanted}
        # Near the cap each call counts anew: an old count would refuse what has room by now.
        await self._count({tenant.id: caps[tenant.id] for tenant, jobs in wanted.items() if self._is_old(tenant.id, jobs, caps)})
        admitted = {}
        for tenant, jobs in wanted.items():
            count = self._counts[tenant.id]
            admitted[tenant.id] = max(0, min(jobs, caps[tenant.id] - count.waiting))
            count.waiting += admitted[tenant.id]
        return admitted

    def _is_old(self, tenant: UUID, jobs: int, caps: Mapping[UUID, int]) -> bool:
        count = self._counts.get(tenant)
        return count is None or time.monotonic() - count.counted_at > FRESH_SECONDS or count.waiting + jobs > caps[tenant]

    async def _count(self, caps: Mapping[UUID, int]) -> None:
        """Counts the waiting jobs of these tenants, each up to its cap."""
        if not caps:
            return
        rows = await self._database.fetch(
            "SELECT t.id, (SELECT count(*) FROM (SELECT FROM jobs WHERE tenant_id = t.id AND lane = 'default' AND state = 'queued' "
            "LIMIT t.cap) w) AS waiting FROM unnest($1::uuid[], $2::bigint[]) AS t (id, cap)",
            list(caps),
            list(caps.values()),
        )
        counted_at = time.monotonic()
        self._counts.update({row["id"]: Count(row["waiting"], counted_at) for row in rows})


def too_many_waiting(tenant: Tenant) -> AppError:
    """What a tenant beyond its cap is told."""
    return AppError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_WAITING_JOBS",
        f"Tenant {tenant.name} has as many waiting jobs as it may have; post again when some of them have run.",
        retry_after_seconds=math.ceil(RETRY_AFTER_SECONDS),
    )
