"""Every alert of the chart fires where what it warns of really happens, to a real system that a real Prometheus scrapes.

The rules are those of the chart but for their times (alerts/scale.py). Nothing is done to metrics: PostgreSQL stops, keys of the
bucket are revoked, Replicate refuses, generators freeze and die. Of what other software exports, RabbitMQ's alarm is its own;
cert-manager alone is not here, and the one series of it is told of the certificate that jobs shows (alerts/certificates.py).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.alerts import dependencies as by_dependencies
from chaos.alerts import work as by_work
from chaos.alerts.cause import Cause
from chaos.alerts.scale import THRESHOLDS, WINDOWS, scaled_rules, windows_of
from chaos.alerts.watched import Watched, watching
from monitoring.rule_files import ALERTS, FILES, RULES
from servers import Servers

pytestmark = [pytest.mark.alone, pytest.mark.timeout(1200)]

STAGES: dict[str, tuple[Cause, ...]] = {
    "nothing is created": (
        by_work.the_account_has_no_credit,
        by_dependencies.vacuum_is_off,
        by_dependencies.the_schema_is_newer_than_a_process,
        by_dependencies.a_certificate_is_not_renewed,
        by_dependencies.jobs_is_far_from_the_gateway,
        by_dependencies.generators_cannot_reach_rabbitmq,
    ),
    "the token is revoked": (by_work.the_token_is_revoked, by_dependencies.rabbitmq_runs_out_of_memory),
    "nothing can be stored": (by_dependencies.keys_of_the_bucket_are_revoked, by_dependencies.a_message_means_nothing),
    "replicate falters": (
        by_work.replicate_falters,
        by_work.a_prediction_does_not_end,
        by_dependencies.a_transaction_is_left_open,  # no DDL beside it: it would wait for the transaction, and all others for it
    ),
    "much is done in vain": (
        by_work.outputs_are_gone,
        by_work.predictions_are_aborted,
        by_dependencies.rabbitmq_is_far_away,
        by_dependencies.a_trigger_lowers_an_epoch,
    ),
    "generators freeze": (
        by_work.a_generator_freezes_before_it_tells_of_a_prediction,
        by_work.a_generator_freezes_before_it_tells_of_an_end,
    ),
    "postgresql stops": (by_dependencies.postgresql_stops,),
    "a table is locked": (by_dependencies.a_table_is_locked,),
    "nobody is left": (by_work.generators_die_and_the_gateway_is_taken_away,),
}
"""What goes wrong at the same time, as it does not disturb each other; one stage after the other, on one system."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(servers: Servers) -> AsyncIterator[Watched]:
    async with watching(servers) as started:
        yield started
    servers.revive_all()


def test_every_alert_has_its_cause_and_every_cause_its_alerts() -> None:
    made = [cause for module in (by_dependencies, by_work) for cause in vars(module).values() if isinstance(cause, Cause)]
    staged = [cause for stage in STAGES.values() for cause in stage]
    assert Counter(cause.name for cause in staged) == Counter(cause.name for cause in made)
    caused = Counter(alert for cause in staged for alert in cause.alerts)
    assert caused == Counter(alert.id for alert in ALERTS)


def test_nothing_is_scaled_without_need() -> None:
    scaled = [rule for file in FILES for group in scaled_rules(file.read_text())["groups"] for rule in group["rules"]]
    assert set(WINDOWS) == {window for rule in RULES for window in windows_of(rule["expr"])}
    assert THRESHOLDS.keys() <= {alert.id for alert in ALERTS}
    for rule, written in zip(scaled, RULES, strict=True):
        assert set(windows_of(rule["expr"])) <= set(WINDOWS.values())
        assert {key: rule[key] for key in rule.keys() - {"expr", "for"}} == {
            key: written[key] for key in written.keys() - {"expr", "for"}
        }


@pytest.mark.parametrize("stage", STAGES)
async def test_what_goes_wrong_makes_its_alerts_fire(stage: str, system: Watched) -> None:
    await system.experiment.completes(f"before {stage}", within=90)
    happened = await asyncio.gather(*(cause.happen(system) for cause in STAGES[stage]), return_exceptions=True)
    problems = {cause.name: end for cause, end in zip(STAGES[stage], happened, strict=True) if end is not None}
    assert not problems, "\n".join(f"{name}: {type(end).__name__}: {end}" for name, end in problems.items())


async def test_once_nothing_is_wrong_any_more_no_alert_fires(system: Watched) -> None:
    await system.experiment.completes("at the end", within=90)
    await system.quiet(alert.id for alert in ALERTS)
