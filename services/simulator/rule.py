"""What all fault rules have in common: whom they are for, how often they strike, and how likely."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
