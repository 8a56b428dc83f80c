"""Generators, and the Replicate account that they share."""

from grafana import Dashboard, Panel, Query, Row, quantiles

from pages.shared import SECONDS_PAID, loop_lag

CALLS = "mediagen_generator_replicate_requests_total"

DASHBOARD = Dashboard(
    "generators",
    "Generators and Replicate",
    "Generators, what they ask of Replicate, and what is left of the account's rate.",
    [
        Row(
            "Slots",
            [
                Panel(
                    "Generators and work",
                    "Jobs that wait or are at work, and how many all generators can work on. Good: fewer jobs than "
                    "slots; otherwise scale.",
                    "short",
                    [
                        Query("max(mediagen_jobs_unfinished{SCOPE})", "jobs"),
                        Query("max(mediagen_worker_slots{SCOPE})", "slots"),
                        Query("max(mediagen_workers{SCOPE})", "generators"),
                    ],
                ),
                Panel(
                    "Slots in use",
                    "Share of all generators' slots that hold a job. Good: below 80 %.",
                    "percentunit",
                    [Query("1 - max(mediagen_worker_slots_free{SCOPE}) / max(mediagen_worker_slots{SCOPE})", "in use")],
                    limits=(0.8, 0.95),
                ),
                Panel(
                    "In flight",
                    "Creates that Replicate has not answered, and predictions that are followed. Good: creates near 0.",
                    "short",
                    [
                        Query("sum(mediagen_generator_creates_in_flight{SCOPE})", "creates"),
                        Query("sum(mediagen_generator_predictions_in_flight{SCOPE})", "predictions"),
                    ],
                ),
                Panel(
                    "Jobs let go of",
                    "By what became of them in the generator. Good: completed, and not_created where Replicate refused.",
                    "ops",
                    [Query("sum by (outcome) (rate(mediagen_generator_jobs_ended_total{SCOPE}[$__rate_interval]))", "{{outcome}}")],
                ),
            ],
        ),
        Row(
            "Requests to Replicate",
            [
                Panel(
                    "Requests",
                    "By call. Good: one create for each job; reads follow the generators, not the predictions.",
                    "reqps",
                    [Query(f"sum by (call) (rate({CALLS}{{SCOPE}}[$__rate_interval]))", "{{call}}")],
                ),
                Panel(
                    "Requests that failed",
                    "By call and status; none is no answer at all. Good: 0. 429 is the rate limit, 402 the credit, 401 the token.",
                    "reqps",
                    [Query(f'sum by (call, code) (rate({CALLS}{{SCOPE,code!~"2.."}}[$__rate_interval]))', "{{call}} {{code}}")],
                ),
                Panel(
                    "p95 by call",
                    "Seconds to the answer. Good: below a second; a create counts as lost after 23.",
                    "s",
                    [quantiles("mediagen_generator_replicate_request_seconds", "call")[1]],
                    limits=(1, 15),
                ),
                Panel(
                    "Jobs granted",
                    "By what was asked: create a prediction, attach to one, reconcile a create of unknown outcome. "
                    "Good: create only.",
                    "ops",
                    [Query("sum by (mode) (rate(mediagen_generator_jobs_total{SCOPE}[$__rate_interval]))", "{{mode}}")],
                ),
            ],
        ),
        Row(
            "The account",
            [
                Panel(
                    "Creates left",
                    "Creates that the account may make at once. Good: above 0; at 0 jobs wait for the rate, and more "
                    "generators help nothing.",
                    "short",
                    [
                        Query("max(mediagen_lane_creates_left{SCOPE})", "left"),
                        Query("max(mediagen_lane_creates_per_minute{SCOPE})", "a minute"),
                    ],
                ),
                Panel(
                    "Reads left",
                    "Reads of the list and of predictions that the account may make at once. Good: above 0.",
                    "short",
                    [
                        Query("max(mediagen_lane_reads_left{SCOPE})", "left"),
                        Query("max(mediagen_lane_reads_per_minute{SCOPE})", "a minute"),
                    ],
                ),
                Panel(
                    "Pauses",
                    "1 while the account may create nothing, by the reason. Good: 0.",
                    "none",
                    [Query("max by (reason) (mediagen_lane_paused{SCOPE})", "{{reason}}")],
                ),
                Panel(
                    "Outcomes unknown",
                    "Creates whose outcome nobody told, and what they were found to be. Good: none, and every lost one "
                    "found or ruled out.",
                    "ops",
                    [
                        Query(
                            'sum(rate(mediagen_jobs_transitions_total{SCOPE,from_state="submitting",to_state="unknown"}[$__rate_interval]))',
                            "lost",
                        ),
                        Query(
                            'sum by (verb) (rate(mediagen_jobs_transitions_total{SCOPE,from_state="unknown",to_state!="unknown"}'
                            "[$__rate_interval]))",
                            "{{verb}}",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "Predictions and media",
            [
                Panel(
                    "From create to the end of a prediction",
                    "As generators see it, queueing at Replicate included. Good: what the models take.",
                    "s",
                    quantiles("mediagen_generator_prediction_seconds"),
                ),
                SECONDS_PAID,
                Panel(
                    "Bytes stored",
                    "Bytes of outputs that reached the bucket. Good: what the load explains.",
                    "Bps",
                    [Query("sum(rate(mediagen_generator_upload_bytes_total{SCOPE}[$__rate_interval]))", "stored")],
                ),
                Panel(
                    "From Replicate to the bucket",
                    "Seconds from the first byte of an output to its last in the bucket. Good: below a few seconds for pictures.",
                    "s",
                    quantiles("mediagen_generator_upload_seconds"),
                ),
            ],
        ),
        Row(
            "Trouble",
            [
                Panel(
                    "Generators that create nothing",
                    "Those whose bucket takes no writes: they pay for nothing that they could not store. Good: 0.",
                    "short",
                    [
                        Query("max(mediagen_workers_refusing_creates{SCOPE})", "as jobs knows them"),
                        Query(
                            "count(mediagen_generator_bucket_up{SCOPE}) - sum(mediagen_generator_bucket_up{SCOPE})", "as they say"
                        ),
                    ],
                    limits=(1, 1),
                ),
                Panel(
                    "Heartbeats that failed",
                    "Heartbeats that jobs did not answer. Good: none; a generator that misses them for 30 seconds "
                    "loses its jobs to others.",
                    "ops",
                    [Query("sum(rate(mediagen_generator_heartbeat_failures_total{SCOPE}[$__rate_interval]))", "failed")],
                ),
                Panel(
                    "Repetitions",
                    "What generators repeated. Good: near 0.",
                    "ops",
                    [Query("sum by (what) (rate(mediagen_generator_retries_total{SCOPE}[$__rate_interval]))", "{{what}}")],
                ),
                loop_lag("generator", "; above, use fewer slots"),
            ],
        ),
    ],
)
