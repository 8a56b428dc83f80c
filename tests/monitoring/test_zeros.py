"""What an alert waits for is there before it happens: a counter that begins with 1 has not increased, for Prometheus."""

import re

import pytest
from prometheus_client import REGISTRY

import generator.metrics
import jobs.database
import jobs.metrics
from monitoring.metrics import OWN, selectors
from monitoring.rule_files import RULES

LOADED = (generator.metrics, jobs.database, jobs.metrics)
COUNTERS = sorted(
    {
        (one.name, tuple(sorted(one.matchers.items())))
        for rule in RULES
        if "alert" in rule and re.search(r"\bincrease\(", rule["expr"])
        for one in selectors(rule["expr"])
        if OWN.get(one.name, ("",))[0] == "counter"
    }
)


@pytest.mark.parametrize(("name", "matchers"), COUNTERS, ids=str)
def test_a_counter_whose_increase_is_an_alert_begins_with_0(name, matchers):
    samples = [sample for family in REGISTRY.collect() for sample in family.samples if sample.name == name]
    wanted = [(label, value) for label, value in matchers if value.isidentifier()]
    assert any(all(sample.labels[label] == value for label, value in wanted) for sample in samples)
