"""How many jobs of a tenant may wait: past its cap a tenant is told to come back, so that no backlog grows without end."""

import math
import time
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

    async def admit(self, tenant: Tenant, jobs: int) -> int:
        """How many of `jobs` more jobs the tenant may have now; they count from this moment on."""
        cap = self._max_waiting if tenant.max_waiting is None else tenant.max_waiting
        count = self._counts.get(tenant.id)
        # Near the cap each call counts anew: an old count would refuse what has room by now.
        if count is None or time.monotonic() - count.counted_at > FRESH_SECONDS or count.waiting + jobs > cap:
            rows = await self._database.fetch(
                "SELECT count(*) AS waiting FROM (SELECT FROM jobs WHERE tenant_id = $1 AND lane = 'default' AND state = 'queued' "
                "LIMIT $2) w",
                tenant.id,
                cap,
            )
            count = self._counts[tenant.id] = Count(rows[0]["waiting"], time.monotonic())
        admitted = max(0, min(jobs, cap - count.waiting))
        count.waiting += admitted
        return admitted


def too_many_waiting(tenant: Tenant) -> AppError:
    """What a tenant beyond its cap is told."""
    return AppError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_WAITING_JOBS",
        f"Tenant {tenant.name} has as many waiting jobs as it may have; post again when some of them have run.",
        retry_after_seconds=math.ceil(RETRY_AFTER_SECONDS),
    )
