"""Panels that stand on several pages."""

from grafana import Panel, Query, quantiles

WAIT_FOR_CONNECTION = Panel(
    "Wait for a connection",
    "Seconds that a statement waited before it could be sent. Good: p99 below 10 ms.",
    "s",
    quantiles("mediagen_db_pool_wait_seconds"),
    limits=(0.01, 0.1),
)

SECONDS_PAID = Panel(
    "Seconds paid for in an hour",
    "Seconds that Replicate bills, where it tells them, by model. Good: what the load explains.",
    "s",
    [Query("sum by (model) (increase(mediagen_jobs_predict_seconds_total{SCOPE}[1h]))", "{{model}}")],
    stacked=True,
)


def loop_lag(component: str, advice: str = "") -> Panel:
    """How late the loops of a component are; `advice` says what helps."""
    return Panel(
        "Lag of the event loop, p99",
        f"How late the loop comes round: everything in a process waits as long. Good: below 50 ms{advice}.",
        "s",
        [
            Query(
                "histogram_quantile(0.99, sum by (le, instance) (rate(mediagen_event_loop_lag_seconds_bucket"
                "{SCOPE}[$__rate_interval]) * on (instance) group_left "
                f'mediagen_build_info{{SCOPE,component="{component}"}}))',
                "{{instance}}",
            )
        ],
        limits=(0.05, 0.25),
    )
