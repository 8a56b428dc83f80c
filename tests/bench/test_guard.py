"""A job costs no more statements, messages, calls and CPU than it did: `make test ARGS=tests/bench/test_guard.py`.

BENCH_RECORD=1 records what is measured instead, in guard.json: on a quiet machine, and with the reason in the commit.
"""

import os

import pytest

from bench.guard import compared, figures, record
from servers import Servers


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_a_job_costs_no_more_than_was_recorded(servers: Servers) -> None:
    measured = await figures(servers)
    if os.environ.get("BENCH_RECORD") == "1":
        record(measured)
        return
    dearer = [one for one in compared(measured) if one.value > one.at_most]
    assert not dearer, dearer
