"""A prediction's life, computed from its times whenever it is looked at: no task runs for it, so thousands cost nothing."""

import math
import random
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from simulator.models import Model

RUNNING_LIMIT_SECONDS = 1800.0
"""Replicate stops what runs for longer than 30 minutes."""

_ID_ALPHABET = "abcdefghijkmnpqrstvwxyz0123456789"
_LOG_LINE = "INFO: a line of a model that writes too much\n"


def new_id() -> str:
    """An id as predictions have them, which none has."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(26))


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a prediction makes. In an output it stands for its URL, whose host depends on who asks."""

    token: str
    """What its URL carries: whoever knows it may read the file."""
    name: str
    media_type: str

    @property
    def path(self) -> str:
        """The path of its URL on the file port."""
        return f"/xezq/{self.token}/{self.name}"


@dataclass(slots=True, eq=False)
class Prediction:
    """One prediction. Times are in seconds since 1970."""

    seq: int
    """Its place in the order of creates, from 1."""
    model: Model
    version: str
    input: dict[str, Any] | None
    input_sha256: str
    """Of the input as canonical JSON: keys sorted, no spaces."""
    prompt: str
    seed: int
    """Seed of what it draws: that of the input, or a random one."""
    created: float
    starts: float
    ends: float
    """When it ends if nothing stops it."""
    listed: float
    """When the list begins to show it."""
    output: Any
    """What it ends with if it succeeds: JSON, with an OutputFile where a URL belongs."""
    files: tuple[OutputFile, ...]
    token: str
    """What the URLs of its files carry."""
    inline: bool = False
    """The output is the first file itself, as a data: URI."""
    ending: str = "succeeded"
    error: Any = None
    """A text; by a fault any JSON."""
    odd_status: str | None = None
    """Shown in place of `processing`, until `odd_until`."""
    odd_until: float = 0.0
    log_size: int = 0
    """The least size of its logs while and after it runs, in bytes."""
    digits: int = 6
    """Fractional digits of the times that are shown."""
    ends_before: float | None = None
    """How long before its create it seems to end; None shows the true end."""
    deadline: float | None = None
    canceled_at: float | None = None
    deployment: str | None = None
    api_url: str = ""
    """How its client called this server: what the URLs in its webhooks begin with."""
    webhook: str | None = None
    webhook_events_filter: list[str] | None = None
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    """Every request that was sent to its webhook, as the ledger shows it."""
    faults: list[str] = field(default_factory=list)
    """The effects of the rules that struck it."""
    answered: bool = False
    """Whether its create was answered with this prediction to a client that was still there."""
    reads: int = 0
    downloads: int = 0
    served: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Size and sha256 of each file whose whole body was sent, by its name."""
    id: str = field(default_factory=new_id)

    def end(self) -> tuple[float, str]:
        """When it ends, and with which status, as far as is known now: a cancel may come before."""
        end, status = self.ends, self.ending
        for moment, stop in (
            (self.deadline, "aborted" if self.deadline is not None and self.deadline <= self.starts else "canceled"),
            (self.canceled_at, "canceled"),
            (self.starts + RUNNING_LIMIT_SECONDS, "canceled"),
        ):
            if moment is not None and moment < end:
                end, status = moment, stop
        return end, status

    def at(self, now: float) -> tuple[str, float | None]:
        """Its status, and when it ended; None while it has not."""
        end, status = self.end()
        if now >= end:
            return status, end
        if now < self.starts:
            return "starting", None
        if self.odd_status is not None and now < self.odd_until:
            return self.odd_status, None
        return "processing", None

    def done(self, now: float) -> float:
        """The share of its run that is behind it, from 0 to 1."""
        _, end = self.at(now)
        moment = now if end is None else end
        if moment < self.starts or math.isinf(self.ends):
            return 0.0
        return min(1.0, (moment - self.starts) / max(self.ends - self.starts, 1e-6))

    def removed(self, now: float, retention: float) -> bool:
        """Whether its data are gone: `retention` seconds after its end."""
        _, end = self.at(now)
        return end is not None and now >= end + retention

    def logs(self, now: float) -> str:
        """What the model wrote so far: a progress bar in the form of tqdm."""
        if now < self.starts or self.at(now)[1] == self.starts:
            return ""
        known = self.model.inputs.get("num_inference_steps")
        steps = min(20, int((self.input or {}).get("num_inference_steps", known.default if known else 10)))
        excess = _LOG_LINE * -(-self.log_size // len(_LOG_LINE))
        lines = [f"{excess}Using seed: {self.seed}"]
        for step in range(int(self.done(now) * steps) + 1):
            filled = round(10 * step / steps)
            bar = "█" * filled + " " * (10 - filled)
            lines.append(f"{100 * step // steps:3d}%|{bar}| {step}/{steps}")
        return "\n".join(lines) + "\n"

    def output_so_far(self, now: float) -> Any:
        """What it has made: everything once it succeeded; of a language model the first pieces while it runs."""
        status, _ = self.at(now)
        if self.model.streams and status == "processing" and isinstance(self.output, list):
            return self.output[: int(self.done(now) * len(self.output))]
        return self.output if status == "succeeded" else None

    def view(self, now: float, api_url: str, retention: float) -> dict[str, Any]:
        """The prediction object of the API; URLs begin with `api_url`, and OutputFiles are still in its output."""
        status, end = self.at(now)
        removed = end is not None and now >= end + retention
        url = f"{api_url}/v1/predictions/{self.id}"
        view: dict[str, Any] = {
            "id": self.id,
            "model": self.model.name,
            "version": self.version,
            "input": None if removed else self.input,
            "logs": "" if removed else self.logs(now),
            "output": None if removed else self.output_so_far(now),
            "data_removed": removed,
            "error": self.error if status == "failed" else None,
            "source": "api",
            "status": status,
            "created_at": stamp(self.created, self.digits),
            "started_at": stamp(self.starts, self.digits) if self.starts <= now and self.starts != end else None,
            "completed_at": None if end is None else stamp(self._shown_end(end), self.digits),
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"https://replicate.com/p/{self.id}"},
        }
        if end is not None:
            running = max(0.0, end - self.starts)
            view["metrics"] = {"predict_time": round(running, 6), "total_time": round(end - self.created, 6)}
        if self.model.streams:
            view["urls"]["stream"] = f"{api_url}/v1/stream/{self.id}"
        optional = {
            "deadline": None if self.deadline is None else stamp(self.deadline),
            "deployment": self.deployment,
            "webhook": self.webhook,
            "webhook_events_filter": self.webhook_events_filter,
        }
        return view | {key: value for key, value in optional.items() if value is not None}

    def _shown_end(self, end: float) -> float:
        return end if self.ends_before is None else self.created - self.ends_before

    def ledger_row(self, now: float) -> dict[str, Any]:
        """What the ledger tells about it."""
        status, end = self.at(now)
        return {
            "id": self.id,
            "created_seq": self.seq,
            "model": self.model.name,
            "prompt": self.prompt,
            "input_sha256": self.input_sha256,
            "status": status,
            "created_at": stamp(self.created),
            "completed_at": None if end is None else stamp(end),
            "deadline": None if self.deadline is None else stamp(self.deadline),
            "answered": self.answered,
            "canceled_by_client": self.canceled_at is not None,
            "reads": self.reads,
            "downloads": self.downloads,
            "files": self.served,
            "faults": self.faults,
            "webhook": self.webhook,
            "deliveries": self.deliveries,
        }


def stamp(moment: float, digits: int = 6) -> str:
    """A time as the API writes it: RFC 3339, UTC, six fractional digits; or another number of them, up to nine."""
    text = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789"
    return text[: 19 + digits + bool(digits)] + "Z"


def spread(average: float, draw: random.Random) -> float:
    """A duration near the average: between 0.7 and 1.3 times that."""
    return average * draw.uniform(0.7, 1.3)
