"""Fault rules: what may go wrong, for which predictions, and how often. They are what PUT /control/faults takes."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from simulator.problems import Answer, ThrottleAnswer

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Strict(BaseModel):
    """What is sent to the control interface: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class When(Strict):
    """Which predictions a rule is for: all conditions given must hold, and none given is every prediction."""

    model: str | None = None
    """Text that the model's owner/name contains."""

    prompt: str | None = None
    """Text that the prompt contains: a marker that a test puts there."""


class Rule(Strict):
    """What the rules about single calls have in common. Of several rules with the same effect the first that matches applies."""

    effect: str
    when: When = When()
    times: int | None = Field(None, ge=1)
    """How often it applies before it is spent; None is until it is cleared."""

    probability: float = Field(1.0, gt=0, le=1)
    """The chance that it applies where it matches."""


class CreateLate(Rule):
    """The create is accepted and made at once, and answered `seconds` later: the client times out, the prediction exists."""

    effect: Literal["create_late"]
    seconds: Seconds


class CreateReset(Rule):
    """The connection is reset instead of an answer: after the prediction was made (`accepted`), or with none made."""

    effect: Literal["create_reset"]
    accepted: bool


class CreateAnswer(Rule):
    """The create is answered with an error. `accepted`: the prediction is made all the same, as behind a broken gateway."""

    effect: Literal["create_answer"]
    answer: Answer
    accepted: bool = False
    retry_after: Seconds = 5  # what a 429 names
    retry_after_header: bool = False  # and sends as a header, too


CREATE_BREAKERS = (CreateLate, CreateReset, CreateAnswer)
"""What may be done to a create, of which each gets one."""

Call = Literal["get", "list", "cancel", "other"]


class ReadRule(Rule):
    """A rule about calls that make nothing; `when` matters to `get` and `cancel`, which are about one prediction."""

    calls: frozenset[Call] = frozenset(("get", "list", "cancel", "other"))


class ReadAnswer(ReadRule):
    """The call is answered with an error."""

    effect: Literal["read_answer"]
    answer: Answer
    retry_after: Seconds = 5
    retry_after_header: bool = False


class ReadSlow(ReadRule):
    """The call is answered `seconds` later."""

    effect: Literal["read_slow"]
    seconds: Seconds


class ReadReset(ReadRule):
    """The connection is reset instead of an answer."""

    effect: Literal["read_reset"]


class ListLag(Rule):
    """The prediction shows up in the list only `seconds` after its create."""

    effect: Literal["list_lag"]
    seconds: Seconds


class LowCredit(Strict):
    """The account is low on credit: 6 creates a minute, one at a time, and the third form of 429. Until cleared."""

    effect: Literal["low_credit"]


class ThrottleForm(Strict):
    """How the account's real rate limits are answered. Until cleared; without it, `throttled_about` and no header."""

    effect: Literal["throttle_form"]
    answer: ThrottleAnswer
    retry_after_header: bool = False


class PredictionEnds(Rule):
    """The prediction ends otherwise: failed at its usual time, aborted before its start, or canceled half-way, unasked."""

    effect: Literal["prediction_ends"]
    status: Literal["failed", "aborted", "canceled"]
    error: str | None = None
    """The error's text, as in `NSFW content detected. Try running it again, or try a different prompt. (E005)`."""


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


class FileRule(Rule):
    """A rule about downloads of output files; `times` counts downloads."""

    index: int | None = Field(None, ge=0)
    """Which of the prediction's files; None is all."""


class FileTruncated(FileRule):
    """The body ends too early, after the share `keep` of it."""

    effect: Literal["file_truncated"]
    keep: float = Field(0.5, ge=0, lt=1)
    length: Literal["full", "short", "none"] = "full"
    """Content-Length promises the whole file; only what comes (a complete answer, half a picture); or there is none."""


class FileChunked(FileRule):
    """The whole file, without a Content-Length."""

    effect: Literal["file_chunked"]


class FileBig(FileRule):
    """The file, followed by as many bytes as make it `size` long: generated on the way, and stored nowhere."""

    effect: Literal["file_big"]
    size: int = Field(ge=0, le=1 << 40)
    length: bool = True
    """Send Content-Length."""


class FileHtml(FileRule):
    """An HTML page with status 200 instead of the file."""

    effect: Literal["file_html"]
    content_type: str = "text/html"


class FileRedirect(FileRule):
    """A redirect: to any URL, or to the file itself (then set `times`, or it never ends)."""

    effect: Literal["file_redirect"]
    to: str | None = Field(None, max_length=2000, pattern=r"^[!-~]*$")
    status: Literal[301, 302, 303, 307, 308] = 302


class FileAnswer(FileRule):
    """An error status instead of the file: 404 is what an expired file gives."""

    effect: Literal["file_answer"]
    status: int = Field(404, ge=400, le=599)


class FileSlow(FileRule):
    """The answer comes `seconds` later, or its body no faster than `bytes_per_second`."""

    effect: Literal["file_slow"]
    seconds: Seconds = 0
    bytes_per_second: int | None = Field(None, ge=1)


FILE_BREAKERS = (FileTruncated, FileChunked, FileBig, FileHtml, FileRedirect, FileAnswer)
"""What may be done to a file, of which a download gets one; slowness comes on top."""

AnyRule = Annotated[
    CreateLate
    | CreateReset
    | CreateAnswer
    | ReadAnswer
    | ReadSlow
    | ReadReset
    | ListLag
    | LowCredit
    | ThrottleForm
    | PredictionEnds
    | PredictionStatus
    | PredictionDuration
    | PredictionOutput
    | FileTruncated
    | FileChunked
    | FileBig
    | FileHtml
    | FileRedirect
    | FileAnswer
    | FileSlow,
    Field(discriminator="effect"),
]


class Rules(Strict):
    """The body of PUT /control/faults: it replaces every rule there was."""

    rules: list[AnyRule]


RULES = TypeAdapter(Rules)
