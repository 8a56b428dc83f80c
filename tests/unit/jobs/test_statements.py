"""The statements and what is put into them agree."""

from dataclasses import fields

from jobs.statements import REPORT_TYPES
from jobs.store import Report


def test_each_field_of_a_report_is_a_parameter_in_its_place():
    assert [field.name for field in fields(Report)] == list(REPORT_TYPES)
