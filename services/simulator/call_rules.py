"""Fault rules about calls of the API, their answers, and the account's state."""

from typing import Literal, get_args

from pydantic import Field

from simulator.problems import Answer, ThrottleAnswer
from simulator.rule import Rule, Seconds, Strict


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

ReadCall = Literal["get", "list", "cancel", "other"]
Call = Literal["create", ReadCall]


class ReadRule(Rule):
    """A rule about calls that make nothing; `when` matters to `get` and `cancel`, which are about one prediction."""

    calls: frozenset[ReadCall] = frozenset(get_args(ReadCall))


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


class AnswerRule(Rule):
    """A rule about the JSON answers of calls that went well, creates among them."""

    calls: frozenset[Call] = frozenset(("create", *get_args(ReadCall)))


class AnswerSlow(AnswerRule):
    """The answer's status and headers come at once, its body no faster than `bytes_per_second`."""

    effect: Literal["answer_slow"]
    bytes_per_second: int = Field(ge=1)


class AnswerLength(AnswerRule):
    """Content-Length is wrong: it promises `more` than comes before the connection ends, or `less` than comes."""

    effect: Literal["answer_length"]
    promises: Literal["more", "less"]


class LowCredit(Strict):
    """The account is low on credit: 6 creates a minute, one at a time, and the third form of 429. Until cleared."""

    effect: Literal["low_credit"]


class ThrottleForm(Strict):
    """How the account's real rate limits are answered. Until cleared; without it, `throttled_about` and no header."""

    effect: Literal["throttle_form"]
    answer: ThrottleAnswer
    retry_after_header: bool = False
