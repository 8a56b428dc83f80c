"""The tables as SQLAlchemy sees them, with the columns that rare queries name: lists, keys, lanes. The migrations define them."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, MetaData, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

metadata = MetaData()
_time = DateTime(timezone=True)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text),
    Column("signing_secret", LargeBinary),
    Column("max_waiting", Integer),
    Column("created_at", _time),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid),
    Column("name", Text),
    Column("prefix", Text),
    Column("sha256", LargeBinary),
    Column("created_at", _time),
    Column("revoked_at", _time),
)

lanes = Table(
    "lanes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("creates_per_minute", Integer),
    Column("reads_per_minute", Integer),
    Column("create_tokens", DOUBLE_PRECISION),
    Column("read_tokens", DOUBLE_PRECISION),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid),
    Column("model", Text),
    Column("status", Text),
    Column("state", Text),
    Column("version", BigInteger),
    Column("priority", SmallInteger),
    Column("created_at", _time),
)
