"""What the REST API accepts and returns. A field of a job stands here and in jobs.proto; a test holds the two together."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Status = Literal["pending", "processing", "completed", "failed", "canceled"]
"""What a job's state means to its owner."""

MAX_PARAMETERS_BYTES = 128 * 1024
"""Bytes of `parameters` as JSON text."""


def _whole(value: object) -> object:
    """JSON knows one kind of number: 4.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]

_JOB_ID = "019a3c5e-7d1f-7c3a-9a55-2f0d6b1c8e47"
_MODEL = "black-forest-labs/flux-schnell"
_PROMPT = "a lighthouse at dusk, oil on canvas"


class CreateJob(BaseModel):
    """What to make."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {"prompt": _PROMPT, "model": _MODEL, "parameters": {"seed": 42, "aspect_ratio": "16:9"}},
                {"prompt": _PROMPT},
            ]
        },
    )

    prompt: str = Field(min_length=1, max_length=32_768, description="What to make; the model's input `prompt`.")
    model: str | None = Field(
        None,
        max_length=255,
        description="The model on Replicate: `owner/name`, `owner/name:version`, or a version alone (64 hexadecimal digits). "
        "Without one the service's default model is taken.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="The model's other inputs, without `prompt`; at most 128 KiB. Large integers keep their digits.",
    )
    priority: Integer = Field(0, ge=-10, le=10, description="Larger goes first among your waiting jobs.")
    metadata: dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] = Field(default_factory=dict, max_length=16, description="Labels of your own.")
    deadline_seconds: Integer | None = Field(
        None,
        ge=5,
        le=604_800,
        description="Seconds from now after which the job is given up; a day, unless the service says otherwise.",
    )


class OutputView(BaseModel):
    """One thing that the model made: a file, or a value."""

    index: int = Field(description="Its place among the job's outputs, from 0.")
    url: str | None = Field(description="Where the file is, for whoever has this link: no key is needed. null for a value.")
    content_type: str = Field(description="Its media type, found in its first bytes; `application/json` for a value.")
    size: int = Field(description="Bytes.")
    sha256: str | None = Field(description="SHA-256 of the bytes, 64 hexadecimal digits; null for a value.")
    width: int | None = Field(description="Pixels, of pictures and videos where it could be read.")
    height: int | None = Field(description="Pixels, likewise.")
    value: Any = Field(description="The value, of outputs that have no file; null for a file.")


class AttemptView(BaseModel):
    """One attempt to have a prediction made."""

    number: int = Field(description="From 1.")
    state: str = Field(
        description="`intent`, `created`, `unknown`, `refused`, `not_sent`, `not_created`, `orphan_canceled`, and how the "
        "prediction ended: `succeeded`, `failed`, `canceled`, `aborted`."
    )
    prediction_id: str | None = Field(description="Replicate's id of the prediction.")
    created_at: datetime | None = Field(description="When it was decided to make it.")
    finished_at: datetime | None = Field(description="When its outcome was known.")
    error_code: str | None = Field(description="Why it failed, for programs.")
    error_message: str | None = Field(description="Why it failed, for people.")
    predict_seconds: float | None = Field(description="Seconds that Replicate bills.")


class JobView(BaseModel):
    """A job and what became of it. What is absent is null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _JOB_ID,
                    "prompt": _PROMPT,
                    "model": _MODEL,
                    "parameters": {"seed": 42},
                    "status": "completed",
                    "created_at": "2026-11-23T21:40:00.512Z",
                    "updated_at": "2026-11-23T21:40:04.003Z",
                    "started_at": "2026-11-23T21:40:00.530Z",
                    "finished_at": "2026-11-23T21:40:04.003Z",
                    "deadline_at": "2026-11-24T21:40:00.512Z",
                    "cancel_requested_at": None,
                    "retry_count": 0,
                    "media_path": f"out/{_JOB_ID}/1/0.webp",
                    "media_url": f"https://media.example.com/api/v1/images/{_JOB_ID}/0?sig=f3Vd0c",
                    "outputs": [
                        {
                            "index": 0,
                            "url": f"https://media.example.com/api/v1/images/{_JOB_ID}/0?sig=f3Vd0c",
                            "content_type": "image/webp",
                            "size": 48213,
                            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "width": 1024,
                            "height": 1024,
                            "value": None,
                        }
                    ],
                    "error_message": None,
                    "error_code": None,
                    "progress": 1.0,
                    "waiting_for": None,
                    "waiting_until": None,
                    "attempts": [
                        {
                            "number": 1,
                            "state": "succeeded",
                            "prediction_id": "q3xk7hj2c9rma0cr9m1tqk8v7w",
                            "created_at": "2026-11-23T21:40:00.541Z",
                            "finished_at": "2026-11-23T21:40:03.102Z",
                            "error_code": None,
                            "error_message": None,
                            "predict_seconds": 1.9,
                        }
                    ],
                    "version": 7,
                    "priority": 0,
                    "metadata": {},
                }
            ]
        }
    )

    id: str = Field(description="UUIDv7; later jobs sort later.")
    prompt: str = Field(description="What to make.")
    model: str = Field(description="The model on Replicate.")
    parameters: dict[str, Any] = Field(description="The model's other inputs.")
    status: Status = Field(description="`completed`, `failed` and `canceled` are final.")
    created_at: datetime = Field(description="When it was accepted.")
    updated_at: datetime = Field(description="When anything about it last changed.")
    started_at: datetime | None = Field(description="When a generator first took it.")
    finished_at: datetime | None = Field(description="When it reached its final status.")
    deadline_at: datetime | None = Field(description="When it is given up, if it is not finished by then.")
    cancel_requested_at: datetime | None = Field(description="When its cancellation was asked for.")
    retry_count: int = Field(description="Paid attempts after the first one.")
    media_path: str | None = Field(description="Object key of output 0 in the bucket.")
    media_url: str | None = Field(description="Link to output 0, for whoever has it: no key is needed, and it works in an <img>.")
    outputs: list[OutputView] = Field(description="What the model made; a failed job has what it could keep.")
    error_message: str | None = Field(description="Why it failed, for people; a waiting job shows its latest attempt's failure.")
    error_code: str | None = Field(description="Why it failed, for programs.")
    progress: float | None = Field(description="From 0 to 1, where the model tells it.")
    waiting_for: str | None = Field(
        description="What a waiting job waits for: `generator`, `rate_limit`, `lane_paused`, `retry`, `verification`, `provider`."
    )
    waiting_until: datetime | None = Field(description="Until when at least it waits.")
    attempts: list[AttemptView] = Field(description="Every attempt to have a prediction made, oldest first; empty in lists.")
    version: int = Field(description="Grows with every change.")
    priority: int = Field(description="As it was asked for.")
    metadata: dict[str, str] = Field(description="As it was given.")


class JobList(BaseModel):
    """One page of jobs."""

    jobs: list[JobView] = Field(description="Newest first, without their attempts.")
    next_page_token: str | None = Field(description="For the next page; null on the last one.")
