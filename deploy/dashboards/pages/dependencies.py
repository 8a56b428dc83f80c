"""PostgreSQL and the object store, as the services see them."""

from grafana import Dashboard, Panel, Query, Row, quantiles

from pages.shared import WAIT_FOR_CONNECTION

DASHBOARD = Dashboard(
    "dependencies",
    "Dependencies",
    "PostgreSQL and the object store from the services' side: rate, errors, duration, saturation. RabbitMQ and "
    "Replicate have pages of "
    "their own.",
    [
        Row(
            "PostgreSQL",
            [
                Panel(
                    "Answers",
                    "Share of the instances of jobs that the database answers. Good: all; without it nothing is accepted.",
                    "percentunit",
                    [Query("avg(mediagen_db_up{SCOPE})", "answered")],
                    "stat",
                    limits=(1, 0.5),
                ),
                Panel(
                    "Statements",
                    "Statements a second. Good: fewer than jobs under load, as what is concurrent goes together.",
                    "ops",
                    [Query("sum(rate(mediagen_db_statement_seconds_count{SCOPE}[$__rate_interval]))", "statements")],
                ),
                Panel(
                    "Duration of a statement",
                    "From when it had a connection to its last row, the commit included. Good: p95 below 50 ms.",
                    "s",
                    quantiles("mediagen_db_statement_seconds"),
                    limits=(0.05, 0.5),
                ),
                Panel(
                    "Statements that failed",
                    "By kind. Good: 0. away and overloaded are answered with 503, repeated is harmless, guard_refused is a defect.",
                    "ops",
                    [Query("sum by (kind) (rate(mediagen_db_errors_total{SCOPE}[$__rate_interval]))", "{{kind}}")],
                ),
            ],
        ),
        Row(
            "Saturation of PostgreSQL",
            [
                Panel(
                    "Connections in use",
                    "Of all instances of jobs, and how many they may have. Good: below 80 % of the pool.",
                    "short",
                    [
                        Query("sum(mediagen_db_pool_in_use{SCOPE})", "in use"),
                        Query("sum(mediagen_db_pool_size{SCOPE})", "pool"),
                    ],
                ),
                WAIT_FOR_CONNECTION,
                Panel(
                    "Dead rows",
                    "Old versions of rows that no vacuum has cleared away. Good: it falls again and again, and stays below 20,000.",
                    "short",
                    [Query("max by (table) (mediagen_db_dead_tuples{SCOPE})", "{{table}}")],
                    limits=(20_000, 100_000),
                ),
            ],
        ),
        Row(
            "Object store",
            [
                Panel(
                    "Requests",
                    "By method. Good: a few for each output, and probes (PUT, HEAD) of each generator.",
                    "reqps",
                    [Query("sum by (method) (rate(mediagen_s3_requests_total{SCOPE}[$__rate_interval]))", "{{method}}")],
                ),
                Panel(
                    "Requests by status",
                    "none is no answer at all. Good: 200, 204 and 206. A 403 is a wrong key or a wrong clock.",
                    "reqps",
                    [Query("sum by (code) (rate(mediagen_s3_requests_total{SCOPE}[$__rate_interval]))", "{{code}}")],
                ),
                Panel(
                    "p95 by method",
                    "Seconds of a request: of a GET until its answer begins. Good: below 0.5; a PUT takes as long as its bytes.",
                    "s",
                    [quantiles("mediagen_s3_request_seconds", "method")[1]],
                    limits=(0.5, 5),
                ),
                Panel(
                    "Takes writes",
                    "Share of the generators whose bucket takes writes. Good: all; the others create nothing.",
                    "percentunit",
                    [Query("avg(mediagen_generator_bucket_up{SCOPE})", "writes")],
                    "stat",
                    limits=(1, 0.5),
                ),
            ],
        ),
    ],
)
