"""What a generator counts."""

from prometheus_client import Counter, Gauge, Histogram

slots_total = Gauge("mediagen_generator_slots", "Jobs that this process can hold at a time.")
slots_free = Gauge("mediagen_generator_slots_free", "Jobs that it could take now.")
jobs_granted = Counter("mediagen_generator_jobs_total", "Jobs granted, by what was asked.", ["mode"])
jobs_ended = Counter("mediagen_generator_jobs_ended_total", "Jobs let go of, by what became of them here.", ["outcome"])
replicate_requests = Counter(
    "mediagen_generator_replicate_requests_total",
    "Requests to Replicate, by call and status, `none` without one.",
    ["call", "code"],
)
replicate_seconds = Histogram("mediagen_generator_replicate_request_seconds", "Seconds of a request to Replicate.", ["call"])
uploaded_bytes = Counter("mediagen_generator_upload_bytes_total", "Bytes of outputs stored in the bucket.")
upload_seconds = Histogram(
    "mediagen_generator_upload_seconds",
    "Seconds from the first byte of an output at its source to its last in the bucket.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
retries = Counter("mediagen_generator_retries_total", "Repetitions, by what was repeated.", ["what"])
bucket_up = Gauge("mediagen_generator_bucket_up", "1 while the bucket takes writes.")
