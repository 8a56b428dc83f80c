"""Fault rules: what may go wrong, for which predictions, and how often. They are what PUT /control/faults takes."""

from typing import Annotated

from pydantic import Field, TypeAdapter

from simulator.call_rules import (
    AnswerLength,
    AnswerSlow,
    CreateAnswer,
    CreateLate,
    CreateReset,
    LowCredit,
    ReadAnswer,
    ReadReset,
    ReadSlow,
    ThrottleForm,
)
from simulator.file_rules import FileAnswer, FileBig, FileChunked, FileHtml, FileRedirect, FileSlow, FileTruncated
from simulator.prediction_rules import (
    ListLag,
    PredictionDuration,
    PredictionEnds,
    PredictionLogs,
    PredictionOutput,
    PredictionStatus,
    PredictionTimes,
)
from simulator.rule import Strict
from simulator.webhook_rules import (
    WebhookDelayed,
    WebhookDuplicate,
    WebhookForeign,
    WebhookLost,
    WebhookReordered,
    WebhookSignature,
    WebhookTimestamp,
)

AnyRule = Annotated[
    CreateLate
    | CreateReset
    | CreateAnswer
    | ReadAnswer
    | ReadSlow
    | ReadReset
    | AnswerSlow
    | AnswerLength
    | LowCredit
    | ThrottleForm
    | PredictionEnds
    | PredictionStatus
    | PredictionDuration
    | PredictionOutput
    | PredictionLogs
    | PredictionTimes
    | ListLag
    | FileTruncated
    | FileChunked
    | FileBig
    | FileHtml
    | FileRedirect
    | FileAnswer
    | FileSlow
    | WebhookLost
    | WebhookDelayed
    | WebhookDuplicate
    | WebhookReordered
    | WebhookSignature
    | WebhookTimestamp
    | WebhookForeign,
    Field(discriminator="effect"),
]


class Rules(Strict):
    """The body of PUT /control/faults: it replaces every rule there was."""

    rules: list[AnyRule]


RULES = TypeAdapter(Rules)
