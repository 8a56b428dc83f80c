"""What a generator counts."""

from prometheus_client import Counter, Gauge, Histogram

from chassis.http_metrics import Requests

slots_total = Gauge("mediagen_generator_slots", "Jobs that this process can work on at a time.")
slots_free = Gauge("mediagen_generator_slots_free", "Jobs that it could take now.")
jobs_granted = Counter("mediagen_generator_jobs_total", "Jobs granted, by what was asked.", ["mode"])
jobs_ended = Counter("mediagen_generator_jobs_ended_total", "Jobs let go of, by what became of them here.", ["outcome"])
heartbeats_failed = Counter("mediagen_generator_heartbeat_failures_total", "Heartbeats that jobs did not answer.")
creates_in_flight = Gauge("mediagen_generator_creates_in_flight", "Creates that Replicate has not answered yet.")
predictions_in_flight = Gauge("mediagen_generator_predictions_in_flight", "Predictions that this process follows to their end.")
prediction_seconds = Histogram(
    "mediagen_generator_prediction_seconds",
    "Seconds from a prediction's create, or its take-over, until this process knew of its end.",
    buckets=(0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
replicate = Requests(
    Counter(
        "mediagen_generator_replicate_requests_total",
        "Requests to Replicate, by call and status, `none` without one.",
        ["call", "code"],
    ),
    Histogram(
        "mediagen_generator_replicate_request_seconds",
        "Seconds of a request to Replicate.",
        ["call"],
        buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
    ),
)
outputs_stored = Counter("mediagen_generator_outputs_total", "Outputs stored in the bucket, by what they are.", ["kind"])
uploaded_bytes = Counter("mediagen_generator_upload_bytes_total", "Bytes of outputs stored in the bucket.")
upload_seconds = Histogram(
    "mediagen_generator_upload_seconds",
    "Seconds from the first byte of an output at its source to its last in the bucket.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
retries = Counter("mediagen_generator_retries_total", "Repetitions, by what was repeated.", ["what"])
bucket_up = Gauge("mediagen_generator_bucket_up", "1 while the bucket takes writes.")

# A rate of what has not happened yet is 0, and not absent: alerts and panels look at these before anything goes wrong.
for _mode in ("create", "attach", "reconcile"):
    jobs_granted.labels(_mode)
for _outcome in ("completed", "not_created", "dropped", "crashed"):
    jobs_ended.labels(_outcome)
for _call in ("list", "get", "cancel", "account"):
    replicate.expect(_call, "200", "429", "none")
replicate.expect("create", "201", "401", "402", "403", "429", "none")
for _kind in ("image", "video", "audio", "other"):
    outputs_stored.labels(_kind)
retries.labels("store")
