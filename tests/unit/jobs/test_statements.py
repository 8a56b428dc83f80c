"""The statements and what is put into them agree."""

from jobs.statements import REPORT_TYPES
from jobs.store import Report


def test_each_field_of_a_report_is_a_parameter_in_its_place():
    assert Report._fields == tuple(REPORT_TYPES)
