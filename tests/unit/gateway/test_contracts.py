"""The REST schemas and the protos speak of the same fields and states."""

from typing import get_args

import pytest

from gateway.job_routes import JobList
from gateway.listing import ListQuery
from gateway.schemas import AttemptView, CreateJob, JobView, OutputView, Status
from gateway.views import STATUS, job_view
from mediagen.jobs.v1 import jobs_pb2

DIFFERENCES = {
    # message: (only in the proto, only in REST)
    "Job": (set(), {"media_url"}),  # the link to output 0
    "Output": ({"object_key", "access_token"}, {"url"}),  # what the link is made of
    "ListJobsRequest": ({"statuses"}, {"status"}),  # a parameter that is repeated is singular
}


@pytest.mark.parametrize(
    ("message", "schema"),
    [
        (jobs_pb2.Job, JobView),
        (jobs_pb2.Output, OutputView),
        (jobs_pb2.Attempt, AttemptView),
        (jobs_pb2.JobSpec, CreateJob),
        (jobs_pb2.ListJobsRequest, ListQuery),
        (jobs_pb2.ListJobsResponse, JobList),
    ],
)
def test_every_field_of_the_proto_is_in_the_schema_and_the_other_way_round(message, schema):
    only_proto, only_rest = DIFFERENCES.get(message.DESCRIPTOR.name, (set(), set()))
    proto, rest = set(message.DESCRIPTOR.fields_by_name), set(schema.model_fields)
    assert proto - rest == only_proto
    assert rest - proto == only_rest


def test_the_statuses_of_rest_are_those_of_the_proto():
    proto = {name.removeprefix("JOB_STATUS_").lower() for name, _ in jobs_pb2.JobStatus.items()} - {"unspecified"}
    assert set(get_args(Status)) == set(STATUS.values()) == proto


def test_a_view_has_exactly_the_fields_of_its_schema():
    job = jobs_pb2.Job(outputs=[jobs_pb2.Output()], attempts=[jobs_pb2.Attempt()])
    view = job_view(job, "http://x")
    assert set(view) == set(JobView.model_fields)
    assert set(view["outputs"][0]) == set(OutputView.model_fields)
    assert set(view["attempts"][0]) == set(AttemptView.model_fields)
