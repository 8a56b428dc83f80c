"""The jobs service: its gRPC, the states of jobs, and its database pool."""

from grafana import Dashboard, Panel, Query, Row, quantiles

from pages.shared import WAIT_FOR_CONNECTION, loop_lag

OURS = 'grpc_service=~"mediagen.+"'
"""Other programs export metrics of these names, too."""

DASHBOARD = Dashboard(
    "jobs",
    "Jobs",
    "The jobs service: gRPC, the states that jobs are in, how they change, and what it waits for.",
    [
        Row(
            "Jobs",
            [
                Panel(
                    "By state",
                    "Unfinished jobs. Good: claimed and submitting are passing, unknown is 0. Many in queued wait for "
                    "slots or budget.",
                    "short",
                    [Query("max by (state) (mediagen_jobs_in_state{SCOPE})", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Ages of the oldest",
                    "Good: waiting and relay below a minute, at work below ten minutes, unknown below 100 seconds.",
                    "s",
                    [
                        Query("max(mediagen_jobs_oldest_waiting_seconds{SCOPE})", "waiting"),
                        Query("max(mediagen_jobs_relay_lag_seconds{SCOPE})", "due and not rung for"),
                        Query("max(mediagen_jobs_oldest_running_seconds{SCOPE})", "at work"),
                        Query("max(mediagen_jobs_oldest_prediction_seconds{SCOPE})", "prediction"),
                        Query("max(mediagen_jobs_oldest_unknown_seconds{SCOPE})", "outcome unknown"),
                    ],
                ),
                Panel(
                    "From claimable to claimed",
                    "How long jobs waited for a generator. Good: p50 below 0.3 s and p99 below 1 s while slots are free.",
                    "s",
                    quantiles("mediagen_job_wait_seconds"),
                ),
            ],
        ),
        Row(
            "Changes",
            [
                Panel(
                    "Transitions",
                    "Changes of a job's state or lease, by verb. Good: begin, created and complete, all alike.",
                    "ops",
                    [Query("sum by (verb) (rate(mediagen_jobs_transitions_total{SCOPE}[$__rate_interval])) > 0", "{{verb}}")],
                ),
                Panel(
                    "What time ended",
                    "Jobs that the sweeper moved on. Good: none. expire is a lease whose generator died, give_up a "
                    "deadline, "
                    "outcome_unknown a create that could not be looked up.",
                    "ops",
                    [Query("sum by (verb) (rate(mediagen_jobs_swept_total{SCOPE}[$__rate_interval]))", "{{verb}}")],
                ),
                Panel(
                    "Reports that were refused",
                    "Reports of generators that changed nothing. Good: none but after a generator died; an orphan is "
                    "a prediction "
                    "that belongs to no job.",
                    "ops",
                    [
                        Query(
                            'sum by (verb, result) (rate(mediagen_jobs_reports_total{SCOPE,result!="ok"}[$__rate_interval])) > 0',
                            "{{verb}}: {{result}}",
                        ),
                        Query('sum(rate(mediagen_jobs_reports_total{SCOPE,result!="ok"}[$__rate_interval]))', "all"),
                    ],
                ),
                Panel(
                    "Failures in an hour",
                    "Jobs that failed, by error_code. Good: only codes that are the request's own fault, such as content_rejected.",
                    "short",
                    [
                        Query("sum by (error_code) (increase(mediagen_jobs_failed_total{SCOPE}[1h])) > 0", "{{error_code}}"),
                        Query("sum(increase(mediagen_jobs_failed_total{SCOPE}[1h]))", "all"),
                    ],
                ),
            ],
        ),
        Row(
            "gRPC",
            [
                Panel(
                    "Calls",
                    "Calls completed, by method. Good: what the load explains.",
                    "reqps",
                    [
                        Query(
                            f"sum by (grpc_method) (rate(grpc_server_handled_total{{SCOPE,{OURS}}}[$__rate_interval])) > 0",
                            "{{grpc_method}}",
                        )
                    ],
                ),
                Panel(
                    "Calls by code",
                    "Calls completed, by code. Good: OK, and few NOT_FOUND; UNAVAILABLE means that the database is away.",
                    "reqps",
                    [
                        Query(
                            f"sum by (grpc_code) (rate(grpc_server_handled_total{{SCOPE,{OURS}}}[$__rate_interval]))",
                            "{{grpc_code}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "p95 by method",
                    "Seconds of a call; those of streams are the client's to choose, and not shown. Good: below 0.1.",
                    "s",
                    [quantiles("grpc_server_handling_seconds", "grpc_method", f'{OURS},grpc_type="unary"')[1]],
                    limits=(0.1, 1),
                ),
                Panel(
                    "Sizes of batches, mean",
                    "Jobs in one commit. Good: 1 in quiet hours, more under load; it is what keeps the database cheap.",
                    "none",
                    [
                        Query(
                            f"sum(rate(mediagen_jobs_{kind}_batch_sum{{SCOPE}}[$__rate_interval])) "
                            f"/ sum(rate(mediagen_jobs_{kind}_batch_count{{SCOPE}}[$__rate_interval]))",
                            kind,
                        )
                        for kind in ("accept", "claim", "report")
                    ],
                ),
            ],
        ),
        Row(
            "Processes",
            [
                Panel(
                    "Connections to PostgreSQL in use",
                    "Share of the pool, by instance. Good: below 80 %; at 100 % statements wait.",
                    "percentunit",
                    [Query("mediagen_db_pool_in_use{SCOPE} / mediagen_db_pool_size{SCOPE}", "{{instance}}")],
                    limits=(0.8, 1),
                ),
                WAIT_FOR_CONNECTION,
                loop_lag("jobs"),
                Panel(
                    "Migrations",
                    "The number of the migration that the database is at, and of the last one that each version "
                    "knows. Good: the same.",
                    "none",
                    [
                        Query("max(mediagen_db_schema_revision{SCOPE})", "database"),
                        Query("max(mediagen_db_schema_revision_of_code{SCOPE})", "newest code"),
                        Query("min(mediagen_db_schema_revision_of_code{SCOPE})", "oldest code"),
                    ],
                ),
            ],
        ),
    ],
)
