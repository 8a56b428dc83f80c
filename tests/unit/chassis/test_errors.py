"""An error is the same on both sides of gRPC."""

import grpc
from google.rpc import status_pb2

from chassis.errors import AppError, FieldViolation, from_status, invalid_argument, to_status


def test_everything_about_an_error_survives_the_wire():
    error = AppError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_WAITING_JOBS",
        "Come back.",
        [FieldViolation("a", "b")],
        retry_after_seconds=2.5,
    )
    assert from_status(to_status(error)) == error


def test_a_status_of_somebody_else_keeps_its_codes_name_as_the_reason():
    error = from_status(status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="gone"))
    assert (error.code, error.reason, error.message) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", "gone")


def test_the_message_of_a_bad_request_names_its_fields():
    error = invalid_argument([FieldViolation("prompt", "must say what to make"), FieldViolation("model", "is no model")])
    assert error.message == "prompt: must say what to make; model: is no model"
