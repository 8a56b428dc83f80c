"""Pages of a tenant's jobs, newest first: by key, never by offset, so that the last page of a million costs what the first does."""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, func, literal, select, tuple_, union_all

from chassis.errors import FieldViolation, invalid_argument
from jobs.database import Database
from jobs.keys import Tenant
from jobs.specs import MODEL
from jobs.tables import jobs
from jobs.views import STATUSES
from mediagen.jobs.v1 import jobs_pb2

DEFAULT_SIZE = 50
MAX_SIZE = 200

STATUS_NAMES = {number: name for name, number in STATUSES.items()}


class Position(NamedTuple):
    """The last job of a page."""

    created_at: datetime
    id: UUID


async def list_page(database: Database, tenant: Tenant, request: jobs_pb2.ListJobsRequest) -> tuple[list[UUID], str]:
    """The ids of one page in their order, and the next page's token. Raises INVALID_ARGUMENT that names the field."""
    size = request.page_size or DEFAULT_SIZE
    if not 1 <= size <= MAX_SIZE:
        raise invalid_argument([FieldViolation("page_size", f"must be from 1 to {MAX_SIZE}")])
    if any(status not in STATUS_NAMES for status in request.statuses):
        raise invalid_argument([FieldViolation("statuses", "must be pending, processing, completed, failed or canceled")])
    if request.model and not MODEL.fullmatch(request.model):
        raise invalid_argument([FieldViolation("model", "must be owner/name, owner/name:version, or a version")])
    for field in ("created_after", "created_before"):
        if not -62_135_596_800 <= getattr(request, field).seconds <= 253_402_300_799:
            raise invalid_argument([FieldViolation(field, "must be a time of the years 1 to 9999")])
    filters = _fingerprint(request)
    after = _parse(request.page_token, tenant, filters) if request.page_token else None
    async with database.connected() as connection:
        rows = [Position(row.created_at, row.id) for row in await connection.execute(page_query(tenant, request, after, size + 1))]
    token = _token(rows[size - 1], tenant, filters) if len(rows) > size else ""
    return [row.id for row in rows[:size]], token


def page_query(
    tenant: Tenant, request: jobs_pb2.ListJobsRequest, after: Position | None, size: int
) -> Select[tuple[datetime, UUID]]:
    """The query of one page; for several statuses it walks down the index once for each, and reads little more than it shows."""
    chosen = _filtered(tenant, request)
    if after is not None:
        chosen = chosen.where(
            tuple_(jobs.c.created_at, jobs.c.id)
            < tuple_(literal(after.created_at, jobs.c.created_at.type), literal(after.id, jobs.c.id.type))
        )
    newest = (jobs.c.created_at.desc(), jobs.c.id.desc())
    statuses = sorted({STATUS_NAMES[status] for status in request.statuses})
    if not statuses:
        return chosen.order_by(*newest).limit(size)
    parts = [chosen.where(jobs.c.status == status).order_by(*newest).limit(size).subquery() for status in statuses]
    merged = union_all(*[select(part.c.created_at, part.c.id) for part in parts]).subquery()
    return select(merged.c.created_at, merged.c.id).order_by(merged.c.created_at.desc(), merged.c.id.desc()).limit(size)


def _filtered(tenant: Tenant, request: jobs_pb2.ListJobsRequest) -> Select[tuple[datetime, UUID]]:
    chosen = select(jobs.c.created_at, jobs.c.id).where(jobs.c.tenant_id == tenant.id)
    if request.model:
        chosen = chosen.where(jobs.c.model == request.model)
    if request.HasField("created_after"):
        chosen = chosen.where(jobs.c.created_at >= func.to_timestamp(request.created_after.ToNanoseconds() / 1e9))
    if request.HasField("created_before"):
        chosen = chosen.where(jobs.c.created_at < func.to_timestamp(request.created_before.ToNanoseconds() / 1e9))
    return chosen


def _fingerprint(request: jobs_pb2.ListJobsRequest) -> bytes:
    filters = jobs_pb2.ListJobsRequest()
    filters.CopyFrom(request)
    filters.ClearField("page_token")
    filters.ClearField("page_size")
    return hashlib.sha256(filters.SerializeToString(deterministic=True)).digest()


def _signature(tenant: Tenant, position: bytes, filters: bytes) -> bytes:
    return hmac.new(tenant.signing_secret, b"page" + position + filters, hashlib.sha256).digest()[:12]


def _token(position: Position, tenant: Tenant, filters: bytes) -> str:
    microseconds = round(position.created_at.timestamp() * 1_000_000)
    packed = microseconds.to_bytes(8, "big") + position.id.bytes
    return base64.urlsafe_b64encode(packed + _signature(tenant, packed, filters)).decode()


def _parse(token: str, tenant: Tenant, filters: bytes) -> Position:
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    packed, signature = raw[:24], raw[24:]
    if len(packed) != 24 or not hmac.compare_digest(signature, _signature(tenant, packed, filters)):
        raise invalid_argument(
            [FieldViolation("page_token", "must be a next_page_token as it came, with the filters that it came with")]
        )
    seconds, microseconds = divmod(int.from_bytes(packed[:8], "big"), 1_000_000)
    return Position(datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds), UUID(bytes=packed[8:]))
