"""What a job costs, by process."""

from types import SimpleNamespace

import pytest

from bench.measure import cost
from bench.meter import Usage


def test_instances_of_a_service_are_added_up_and_the_name_of_a_peer_is_left_out():
    spent = {"gateway": 1.0, "gateway-2": 2.0, "jobs": 0.5, "jobs-2": 0.5, "generator-1": 3.0, "generator-12": 1.0, "other": 9.0}
    ours = SimpleNamespace(name="mediagen", owns=lambda process: process != "other")
    assert cost(ours, Usage(1.0, spent, 0.0), 2000) == pytest.approx({"gateway": 1.5, "jobs": 0.5, "generator": 2.0})
    peer = SimpleNamespace(name="first design, 2 API processes", owns=lambda _: True)
    assert cost(peer, Usage(1.0, {"first design, 2 API processes worker": 1.0}, 0.0), 1000) == {"worker": 1.0}
