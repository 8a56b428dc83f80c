"""What a list of jobs is filtered by."""

import re
from datetime import datetime
from typing import Annotated

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.schemas import Status
from gateway.views import STATUS
from mediagen.jobs.v1 import jobs_pb2

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _split(value: object) -> object:
    """Several statuses may come as several parameters, or as one with commas."""
    if isinstance(value, list):
        return [part for item in value for part in str(item).split(",")]
    return value


def _rfc3339(value: object) -> object:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("Must be a time of RFC 3339, such as 2026-11-23T21:40:00Z (a + in a URL is written %2B).")
    return value


def _representable(value: datetime) -> datetime:
    if value.utcoffset() is None or not 1 < value.year < 9999:
        raise ValueError("Is out of range.")
    return value


Time = Annotated[datetime, BeforeValidator(_rfc3339), AfterValidator(_representable)]


class ListQuery(BaseModel):
    """What `GET /api/v1/jobs` filters by."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[list[Status], BeforeValidator(_split)] = Field(
        [], description="Only jobs of one of these; repeat the parameter, or separate with commas."
    )
    model: str = Field("", max_length=255, description="Only jobs of this model, as it was asked for.")
    created_after: Time | None = Field(None, description="Only jobs accepted at or after this time (RFC 3339).")
    created_before: Time | None = Field(None, description="Only jobs accepted before this time (RFC 3339).")
    page_size: int = Field(50, ge=1, le=200, description="Jobs a page.")
    page_token: str = Field("", max_length=2048, description="`next_page_token` of the page before, with the same filters.")

    def to_request(self) -> jobs_pb2.ListJobsRequest:
        """As `jobs` is asked."""
        return jobs_pb2.ListJobsRequest(
            page_size=self.page_size,
            page_token=self.page_token,
            statuses=[number for number, name in STATUS.items() if name in self.status],
            model=self.model,
            created_after=_timestamp(self.created_after),
            created_before=_timestamp(self.created_before),
        )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
