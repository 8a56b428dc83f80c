"""The gateway: rate, errors and duration of what clients ask for."""

from grafana import Dashboard, Panel, Query, Row, quantiles

from pages.shared import loop_lag

DASHBOARD = Dashboard(
    "gateway",
    "Gateway",
    "Rate, errors and duration of REST, by route.",
    [
        Row(
            "Requests",
            [
                Panel(
                    "Requests",
                    "Requests answered, by route. Good: what the clients' load explains.",
                    "reqps",
                    [
                        Query(
                            "sum by (method, route) (rate(mediagen_http_requests_total{SCOPE}[$__rate_interval]))",
                            "{{method}} {{route}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Answers",
                    "Requests answered, by status. Good: 2xx, and few 4xx. A 5xx is our fault, a 429 says that a "
                    "tenant's limit is reached.",
                    "reqps",
                    [Query("sum by (code) (rate(mediagen_http_requests_total{SCOPE}[$__rate_interval]))", "{{code}}")],
                    stacked=True,
                ),
                Panel(
                    "Share of 5xx",
                    "Answers that were our fault. Good: below the objective of 0.1 %.",
                    "percentunit",
                    [
                        Query(
                            '(sum(rate(mediagen_http_requests_total{SCOPE,code=~"5.."}[$__rate_interval])) or vector(0)) '
                            "/ sum(rate(mediagen_http_requests_total{SCOPE}[$__rate_interval]))",
                            "5xx",
                        )
                    ],
                    limits=(0.001, 0.0144),
                ),
            ],
        ),
        Row(
            "Duration",
            [
                Panel(
                    "Accepting a job",
                    "Seconds of the POST of a job. Good: p99 below 0.25, which is the objective.",
                    "s",
                    quantiles("mediagen_http_request_seconds", matchers='method="POST",route=~"/api/v1/(jobs|generate)"'),
                    limits=(0.25, 1),
                ),
                Panel(
                    "p95 by route",
                    "Seconds to the end of the answer. Good: tens of milliseconds; media takes as long as the client's line.",
                    "s",
                    [quantiles("mediagen_http_request_seconds", "route")[1]],
                ),
                Panel(
                    "In flight",
                    "Requests that are being answered, by instance. Good: low and even; growth means that something "
                    "behind is slow.",
                    "short",
                    [Query("sum by (instance) (mediagen_http_requests_in_flight{SCOPE})", "{{instance}}")],
                ),
            ],
        ),
        Row(
            "Refusals, replays and bytes",
            [
                Panel(
                    "429 and other 4xx",
                    "Requests that were refused, by status. Good: near 0; 401 and 403 are wrong keys, 429 a tenant over its limit.",
                    "reqps",
                    [Query('sum by (code) (rate(mediagen_http_requests_total{SCOPE,code=~"4.."}[$__rate_interval]))', "{{code}}")],
                ),
                Panel(
                    "Idempotent replays",
                    "Requests that were answered with the job that their key had made. Good: few; many mean that "
                    "clients run into timeouts.",
                    "reqps",
                    [Query("sum(rate(mediagen_jobs_replayed_total{SCOPE}[$__rate_interval]))", "replayed")],
                ),
                Panel(
                    "Bytes sent",
                    "Bodies of answers, by route; media makes the most of it. Good: what the clients' load explains.",
                    "Bps",
                    [Query("sum by (route) (rate(mediagen_http_response_bytes_total{SCOPE}[$__rate_interval]))", "{{route}}")],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Processes",
            [
                loop_lag("gateway", "; above, add replicas"),
                Panel(
                    "Instances",
                    "Gateways by version. Good: one version, and as many as there are replicas.",
                    "short",
                    [Query('sum by (version) (mediagen_build_info{SCOPE,component="gateway"})', "{{version}}")],
                    stacked=True,
                ),
            ],
        ),
    ],
)
