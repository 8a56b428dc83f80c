"""The storm keeps its own rules: a seed repeats it, and faults that must not meet do not."""

import itertools

from chaos.soak.faults import catalogue
from chaos.soak.settings import Settings
from chaos.soak.storm import may_strike, plan

FAULTS = catalogue(["generator-1", "generator-2"])


def named(name):
    return next(fault for fault in FAULTS if fault.name == name)


def first(settings, faults=200):
    return [(one.gap, one.fault.name, one.lasts) for one in itertools.islice(plan(FAULTS, settings), faults)]


def test_a_seed_repeats_the_faults_their_lengths_and_their_gaps():
    assert first(Settings(seed=1)) == first(Settings(seed=1))
    assert first(Settings(seed=1)) != first(Settings(seed=2))


def test_the_scale_shortens_faults_and_not_which_they_are():
    real, scaled = first(Settings(scale=1)), first(Settings(scale=0.1))
    assert [name for _, name, _ in real] == [name for _, name, _ in scaled]
    assert sum(lasts for *_, lasts in scaled) < 0.11 * sum(lasts for *_, lasts in real)


def test_a_long_storm_has_every_kind_of_fault():
    assert {name for _, name, _ in first(Settings(), 20_000)} == {fault.name for fault in FAULTS}


def test_no_more_than_two_faults_strike_at_once_and_never_two_on_the_same_thing():
    kill, restart, bucket = named("generator-1: SIGKILL"), named("jobs: SIGTERM"), named("s3: SIGKILL")
    assert may_strike(kill, [])
    assert may_strike(kill, [restart])
    assert not may_strike(kill, [restart, bucket])
    assert not may_strike(kill, [named("generator-2: SIGKILL")])
    assert not may_strike(named("postgresql: SIGKILL"), [named("jobs → PostgreSQL: latency")])


def test_what_delays_a_create_never_meets_what_else_delays_it():
    stop, held, lag = (
        named(name) for name in ("generator-1: SIGSTOP", "generators → Replicate: held up", "Replicate: the list lags")
    )
    assert not may_strike(stop, [held])
    assert not may_strike(held, [lag])
    assert not may_strike(lag, [stop])


def test_the_simulator_is_never_harmed_as_it_holds_the_ledger():
    assert not any("simulator" in fault.occupies for fault in FAULTS)


def test_every_fault_has_a_group_a_length_and_a_weight():
    for fault in FAULTS:
        assert fault.group
        assert 0 <= fault.least <= fault.most
        assert fault.weight > 0
