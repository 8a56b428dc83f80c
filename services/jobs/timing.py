"""The times of the protocol, which this service owns and tells generators, so that no two of them can disagree."""

from dataclasses import dataclass, fields, replace

from mediagen.jobs.v1 import worker_pb2


@dataclass(frozen=True)
class Timing:
    """All in seconds. One setting scales them together, so that tests can live through a lost create in a second."""

    lease: float = 30
    """How long a worker holds a job without a heartbeat; what it held then goes to another."""
    heartbeat: float = 5
    """How often workers send heartbeats."""
    send_by: float = 5
    """A create must be on the wire this soon after its intent was asked for, or not at all."""
    create_timeout: float = 23
    """How long a create may take from then: 3 to connect, 5 to write, 15 for the answer."""
    settle: float = 90
    """After an intent, when an absence from Replicate's list counts: send_by and create_timeout, and 62 s for a frozen process, a
    slow network and a list that lags."""
    lookup_gap: float = 15
    """Two empty look-ups that rule a create out are at least this far apart."""
    unknown_limit: float = 3000
    """After 50 minutes Replicate's list no longer shows the input to compare: what is unknown then fails."""
    ring: float = 30
    """A job that was rung for and not claimed is rung for again after this."""
    silence: float = 5
    """A generator with free slots that hears no bell for this long asks for whatever is due: the way when RabbitMQ is away."""
    poll: float = 10
    """How often generators read Replicate's list."""
    pause: float = 60
    """How long a lane pauses first when the account may not create; doubled each time, up to pause_limit."""
    pause_limit: float = 600
    sweep: float = 2
    """How often leases and deadlines are looked at."""
    relay: float = 0.25
    """How often the table is looked at for jobs that are due, where nothing else woke the relay."""
    prediction: float = 600
    """How long a prediction may live from its create."""
    output_lifetime: float = 3600
    """How long Replicate keeps outputs."""

    def scaled(self, by: float) -> "Timing":
        """Every time of the protocol, and of the provider's too, times `by`."""
        return replace(self, **{field.name: getattr(self, field.name) * by for field in fields(self)})

    def to_proto(self) -> worker_pb2.Timing:
        """What workers need of it."""
        return worker_pb2.Timing(
            lease_seconds=self.lease,
            heartbeat_seconds=self.heartbeat,
            send_by_seconds=self.send_by,
            create_timeout_seconds=self.create_timeout,
            prediction_seconds=self.prediction,
            poll_seconds=self.poll,
            silence_seconds=self.silence,
            output_lifetime_seconds=self.output_lifetime,
        )
