"""Errors that cross a service's border: one exception class on both sides of gRPC, with everything that the caller needs.

On the wire an AppError is a google.rpc.Status with ErrorInfo (the reason, a stable word), BadRequest (the fields) and RetryInfo.
"""

from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "mediagen"
"""ErrorInfo.domain of every error of ours."""


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong."""

    field: str
    """Path of the field, such as `parameters` or `metadata.team`."""
    description: str
    """What is wrong with it, and what would be right."""


@dataclass
class AppError(Exception):
    """An error that the caller is meant to see."""

    code: grpc.StatusCode
    """The gRPC status code."""
    reason: str
    """A stable word in capitals, such as JOB_NOT_FOUND."""
    message: str
    """A sentence for people: what is wrong and what to do."""
    violations: list[FieldViolation] = field(default_factory=list)
    """The fields that are wrong, of an INVALID_ARGUMENT."""
    retry_after_seconds: float | None = None
    """When to try again, where that is known."""

    def __post_init__(self) -> None:
        """Lets logs and tracebacks show the message."""
        super().__init__(self.message)


def invalid_argument(violations: list[FieldViolation]) -> AppError:
    """The request is wrong in these fields."""
    summary = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return AppError(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", summary, violations)


def unavailable(message: str, retry_after_seconds: float = 1.0) -> AppError:
    """Something that the service stands on is away; the request changed nothing and may be repeated."""
    return AppError(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", message, retry_after_seconds=retry_after_seconds)


def internal() -> AppError:
    """Something went wrong that nobody foresaw, and that only the log tells of; what the request asked for may have happened."""
    return AppError(grpc.StatusCode.INTERNAL, "INTERNAL", "Something went wrong here; it is in the log.")


def to_status(error: AppError) -> status_pb2.Status:
    """The error as it travels."""
    details = [any_pb2.Any()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        details.append(any_pb2.Any())
        details[-1].Pack(bad_request)
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(any_pb2.Any())
        details[-1].Pack(retry)
    return status_pb2.Status(code=error.code.value[0], message=error.message, details=details)


def from_status(status: status_pb2.Status) -> AppError:
    """The error as it was raised on the other side. A status without an ErrorInfo of ours keeps its code's name as the reason."""
    name = code_pb2.Code.Name(code_pb2.Code.ValueType(status.code))
    error = AppError(grpc.StatusCode[name], name, status.message)
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            error.reason = info.reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            error.violations = [FieldViolation(v.field, v.description) for v in bad_request.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            error.retry_after_seconds = retry.retry_delay.ToMilliseconds() / 1000
    return error


def from_rpc_error(error: grpc.aio.AioRpcError) -> AppError:
    """The error that a call failed with."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is not None:
        return from_status(status)
    return AppError(error.code(), error.code().name, error.details() or error.code().name)
