"""Fault rules about predictions: how they go, how they end, and what they look like."""

from typing import Any, Literal

from pydantic import Field

from simulator.rule import Rule, Seconds


class PredictionEnds(Rule):
    """The prediction ends otherwise: failed at its usual time, aborted before its start, or canceled half-way, unasked."""

    effect: Literal["prediction_ends"]
    status: Literal["failed", "aborted", "canceled"]
    error: str | dict[str, Any] | list[Any] | None = None
    """The error's text, as in `NSFW content detected. Try running it again, or try a different prompt. (E005)`; or an object
    or a list, which the API's description does not allow."""


class PredictionStatus(Rule):
    """The prediction shows an unknown status in place of `processing`: for `seconds`, or for ever (its deadline ends it)."""

    effect: Literal["prediction_status"]
    status: str = Field(min_length=1, max_length=40)
    seconds: Seconds | None = None


class PredictionDuration(Rule):
    """How long the prediction waits and runs."""

    effect: Literal["prediction_duration"]
    seconds: Seconds
    queue_seconds: Seconds | None = None
    """None keeps what the settings say."""


class PredictionOutput(Rule):
    """The shape of the output: a URL, a list, URLs nested in an object, a data: URI, [], null, text, or any JSON."""

    effect: Literal["prediction_output"]
    shape: Literal["string", "list", "nested", "data_uri", "empty_list", "null", "text", "json"]
    value: Any = None
    """The output itself, with `json`; the text, with `text`."""


class PredictionLogs(Rule):
    """The logs are at least `size` bytes long as soon as the prediction runs; the progress bar is their end."""

    effect: Literal["prediction_logs"]
    size: int = Field(ge=0, le=100_000_000)


class PredictionTimes(Rule):
    """Times look odd: with another number of fractional digits, or with an end before the create."""

    effect: Literal["prediction_times"]
    digits: Literal[0, 3, 6, 9] = 6
    ends_before: Seconds | None = None
    """How many seconds before `created_at` the object's `completed_at` is; None shows the true one."""


class ListLag(Rule):
    """The prediction shows up in the list only `seconds` after its create."""

    effect: Literal["list_lag"]
    seconds: Seconds
