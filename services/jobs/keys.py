"""API keys: each belongs to a tenant, is shown once, and is kept as a hash."""

import hashlib
import secrets
import string
import time
from dataclasses import dataclass
from uuid import UUID

import grpc
import uuid_utils.compat as uuid_utils
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.errors import AppError
from jobs.database import Database
from jobs.tables import api_keys, tenants

PREFIX = "mg_"
_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARACTERS = 32
"""190 random bits."""

CACHE_SECONDS = 5.0
"""How long a key is believed without another look: a revoked key stops working after this."""

CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Tenant:
    """Who makes a call."""

    id: UUID
    name: str
    signing_secret: bytes
    max_waiting: int | None


async def ensure_tenant(engine: AsyncEngine, name: str) -> UUID:
    """The tenant of this name, made where there is none."""
    async with engine.begin() as connection:
        made = upsert(tenants).values(id=uuid_utils.uuid7(), name=name, signing_secret=secrets.token_bytes(32))
        await connection.execute(made.on_conflict_do_nothing(index_elements=["name"]))
        found: UUID = (await connection.execute(select(tenants.c.id).where(tenants.c.name == name))).scalar_one()
        return found


async def create_key(engine: AsyncEngine, tenant: str, name: str) -> str:
    """Makes a key for the tenant, and the tenant where it is new. The key is returned once; only its hash is kept."""
    key = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    tenant_id = await ensure_tenant(engine, tenant)
    async with engine.begin() as connection:
        await connection.execute(
            insert(api_keys).values(
                id=uuid_utils.uuid7(), tenant_id=tenant_id, name=name, prefix=key[:9], sha256=_hash(key), created_at=func.now()
            )
        )
    return key


async def list_keys(engine: AsyncEngine) -> list[Row[tuple[UUID, str, str, str, object, object]]]:
    """Every key: id, tenant, name, prefix, created_at, revoked_at."""
    chosen = select(api_keys.c.id, tenants.c.name, api_keys.c.name, api_keys.c.prefix, api_keys.c.created_at, api_keys.c.revoked_at)
    async with engine.connect() as connection:
        rows = await connection.execute(
            chosen.join_from(api_keys, tenants, api_keys.c.tenant_id == tenants.c.id).order_by(api_keys.c.id)
        )
        return list(rows)  # type: ignore[arg-type]


async def revoke_key(engine: AsyncEngine, key_id: UUID) -> bool:
    """Ends a key; False where there is none of this id that still works."""
    ended = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=func.now())
    async with engine.begin() as connection:
        return (await connection.execute(ended)).rowcount == 1


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class Keyring:
    """Looks keys up for calls, and remembers them for CACHE_SECONDS."""

    def __init__(self, database: Database, open_to: UUID | None) -> None:
        """`open_to` is the tenant of calls without a key, where the service runs without keys."""
        self._database = database
        self._open_to = open_to
        self._known: dict[bytes, tuple[float, Tenant | None]] = {}

    async def authenticate(self, key: str | None) -> Tenant | None:
        """The tenant of a key. None where there is no key: what may be read without one is the handler's to say.

        Raises UNAUTHENTICATED for a key that is unknown or revoked.
        """
        if key is None and self._open_to is None:
            return None
        digest = _hash(key) if key is not None and self._open_to is None else b""
        seen, tenant = self._known.get(digest, (0.0, None))
        if time.monotonic() - seen > CACHE_SECONDS or not seen:
            tenant = await self._look_up(digest)
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[digest] = (time.monotonic(), tenant)
        if tenant is None:
            raise AppError(grpc.StatusCode.UNAUTHENTICATED, "API_KEY_INVALID", "This API key is unknown or was revoked.")
        return tenant

    async def _look_up(self, digest: bytes) -> Tenant | None:
        if self._open_to is not None:
            rows = await self._database.fetch(
                "SELECT id, name, signing_secret, max_waiting FROM tenants WHERE id = $1", self._open_to
            )
        else:
            rows = await self._database.fetch(
                "SELECT t.id, t.name, t.signing_secret, t.max_waiting FROM api_keys k JOIN tenants t ON t.id = k.tenant_id "
                "WHERE k.sha256 = $1 AND k.revoked_at IS NULL",
                digest,
            )
        return Tenant(**rows[0]) if rows else None
