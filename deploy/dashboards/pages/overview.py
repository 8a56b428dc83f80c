"""What to look at first: are the objectives kept, and does work flow."""

from grafana import Dashboard, Panel, Query, Row, quantiles

from pages.shared import SECONDS_PAID


def _burn(ratio: str, budget: float) -> list[Query]:
    """How many times as fast as it lasts a budget burns, by the windows of the recording rules."""
    return [Query(f"max(mediagen:{ratio}:ratio_rate{window}{{SCOPE}}) / {budget}", window) for window in ("5m", "1h", "6h", "3d")]


DASHBOARD = Dashboard(
    "overview",
    "Overview",
    "Are the objectives kept, and does work flow? The burn rates come from the chart's recording rules.",
    [
        Row(
            "Now",
            [
                Panel(
                    "Jobs unfinished",
                    "Jobs that wait or are at work. Good: it follows the load, and falls to 0 in quiet hours.",
                    "short",
                    [Query("max(mediagen_jobs_unfinished{SCOPE})")],
                    "stat",
                ),
                Panel(
                    "Oldest waiting job",
                    "Since when the job that waits longest could have been claimed. Good: seconds. Over a minute "
                    "there are too few "
                    "slots, or the account's rate is used up.",
                    "s",
                    [Query("max(mediagen_jobs_oldest_waiting_seconds{SCOPE})")],
                    "stat",
                    limits=(30, 60),
                ),
                Panel(
                    "Oldest prediction",
                    "Since when the oldest prediction that is followed was created. Good: below its ten minutes. After an "
                    "hour Replicate deletes what was paid for.",
                    "s",
                    [Query("max(mediagen_jobs_oldest_prediction_seconds{SCOPE})")],
                    "stat",
                    limits=(1800, 2700),
                ),
                Panel(
                    "Jobs that ended well",
                    "Completed jobs of all that ended, without those that were canceled. Good: 95 % and more; what "
                    "failed is by reason "
                    "on the dashboard Jobs.",
                    "percentunit",
                    [
                        Query(
                            'sum(increase(mediagen_jobs_finished_total{SCOPE,status="completed"}[1h])) '
                            '/ sum(increase(mediagen_jobs_finished_total{SCOPE,status=~"completed|failed"}[1h]))',
                            "completed",
                        )
                    ],
                    "stat",
                    limits=(0.95, 0.9),
                ),
                Panel(
                    "Creates for each completed job",
                    "Predictions that were paid for, for each job that completed. Good: 1.00; more means retries, "
                    "jobs that fail, or a "
                    "prediction paid for twice.",
                    "none",
                    [
                        Query(
                            'sum(increase(mediagen_generator_replicate_requests_total{SCOPE,call="create",code="201"}[6h])) '
                            '/ sum(increase(mediagen_jobs_finished_total{SCOPE,status="completed"}[6h]))',
                            "creates",
                        )
                    ],
                    "stat",
                    limits=(1.02, 1.1),
                ),
                Panel(
                    "Generators",
                    "Generators whose heartbeat is younger than a lease. Good: as many as there are replicas.",
                    "short",
                    [Query("max(mediagen_workers{SCOPE})")],
                    "stat",
                ),
            ],
        ),
        Row(
            "Objectives",
            [
                Panel(
                    "Availability budget, burn rate",
                    "How many times as fast as it lasts the budget of 0.1 % failed requests in 30 days burns, by "
                    "window. Good: below 1. "
                    "14.4 for an hour, or 6 for six hours, is an emergency.",
                    "none",
                    _burn("http_errors", 0.001),
                    limits=(1, 6),
                ),
                Panel(
                    "Latency budget, burn rate",
                    "The same of the budget of 1 % of jobs that are accepted after more than 250 ms. Good: below 1.",
                    "none",
                    _burn("http_slow_creates", 0.01),
                    limits=(1, 6),
                ),
                Panel(
                    "Availability budget left",
                    "What is left of three days' share of the budget of failed requests. Good: above 0.",
                    "percentunit",
                    [Query("1 - max(mediagen:http_errors:ratio_rate3d{SCOPE}) / 0.001", "left")],
                    "stat",
                    limits=(0.5, 0),
                ),
            ],
        ),
        Row(
            "Flow",
            [
                Panel(
                    "Jobs",
                    "Jobs accepted, and jobs that ended, by how. Good: as many end as are accepted.",
                    "ops",
                    [
                        Query("sum(rate(mediagen_jobs_accepted_total{SCOPE}[$__rate_interval]))", "accepted"),
                        Query("sum by (status) (rate(mediagen_jobs_finished_total{SCOPE}[$__rate_interval]))", "{{status}}"),
                    ],
                ),
                Panel(
                    "From acceptance to completion, median",
                    "How long jobs take, by model. Good: what the model takes, and little more.",
                    "s",
                    [quantiles("mediagen_job_duration_seconds", "model")[0]],
                ),
                Panel(
                    "From acceptance to completion, p95 and p99",
                    "How long the slowest jobs take, by model. Good: close to the median, as long as nothing has to wait.",
                    "s",
                    quantiles("mediagen_job_duration_seconds", "model")[1:],
                ),
            ],
        ),
        Row(
            "Money",
            [
                SECONDS_PAID,
                Panel(
                    "The account",
                    "1 while the account may create nothing, by the reason. Good: 0 throughout; rate_limit for a "
                    "moment is harmless.",
                    "none",
                    [Query("max by (reason) (mediagen_lane_paused{SCOPE})", "{{reason}}")],
                    limits=(1, 1),
                ),
            ],
        ),
    ],
)
