"""What Replicate's answers mean: the tables, row by row."""

import email.utils
import time

import orjson
import pytest

from generator.outcomes import Created, Refused, Unknown, create_outcome, failure, retry_after
from mediagen.jobs.v1 import worker_pb2 as pb


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_create_that_is_answered_with_an_id_made_a_prediction(status: int) -> None:
    outcome = create_outcome(status, {}, b'{"id":"abc","status":"weird","output":null}')
    assert isinstance(outcome, Created)
    assert outcome.prediction["id"] == "abc"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"id":7}', b'{"id":""}'])
def test_a_success_that_cannot_be_read_is_of_unknown_outcome(body: bytes) -> None:
    assert isinstance(create_outcome(201, {}, body), Unknown)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520])
def test_after_a_5xx_nobody_knows_whether_a_prediction_was_made(status: int) -> None:
    assert isinstance(create_outcome(status, {}, b"<html>Bad gateway</html>"), Unknown)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"detail": "no"}, pb.REFUSAL_KIND_REJECTED, "invalid_input"),
        (401, {"title": "Unauthenticated"}, pb.REFUSAL_KIND_ACCOUNT, "account_unauthorized"),
        (402, {"title": "Insufficient credit"}, pb.REFUSAL_KIND_ACCOUNT, "insufficient_credit"),
        (403, {}, pb.REFUSAL_KIND_ACCOUNT, "account_unauthorized"),
        (404, {"detail": "The requested resource could not be found."}, pb.REFUSAL_KIND_REJECTED, "model_not_found"),
        (413, {}, pb.REFUSAL_KIND_REJECTED, "input_too_large"),
        (422, {"title": "Invalid version or not permitted"}, pb.REFUSAL_KIND_REJECTED, "model_not_found"),
        (422, {"title": "Input validation failed"}, pb.REFUSAL_KIND_REJECTED, "invalid_input"),
        (409, {}, pb.REFUSAL_KIND_REJECTED, "request_rejected"),
        (429, {"detail": "Request was throttled."}, pb.REFUSAL_KIND_RATE_LIMITED, "rate_limited"),
        (307, {}, pb.REFUSAL_KIND_ACCOUNT, "provider_redirected"),
    ],
)
def test_a_refused_create_says_what_follows(status: int, body: object, kind: int, code: str) -> None:
    outcome = create_outcome(status, {}, orjson.dumps(body))
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.error_code, outcome.http_status) == (kind, code, status)
    assert outcome.message


def test_a_refusal_keeps_replicates_own_words() -> None:
    body = b'{"title":"Input validation failed","detail":"- input.steps: Must be less than or equal to 4\\n","status":422}'
    outcome = create_outcome(422, {}, body)
    assert isinstance(outcome, Refused)
    assert outcome.message == "Input validation failed: - input.steps: Must be less than or equal to 4"


@pytest.mark.parametrize("body", [b'["wrong"]', b'{"detail":["a",{"b":1}]}', b"\xff\xfe", b"null"])
def test_an_error_body_of_any_shape_is_read(body: bytes) -> None:
    assert isinstance(create_outcome(422, {}, body), Refused)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, b'{"retry_after":5}', 7),
        ({"Retry-After": "1.5"}, b"", 1.5),
        ({}, b'{"detail":"...resets in ~9s.","retry_after":5}', 5),
        ({}, b'{"detail":"Request was throttled. Your rate limit resets in ~30s."}', 30),
        ({}, b'{"detail":"Request was throttled. Expected available in 1 second."}', 1),
        ({}, b'{"detail":"less than $5.0 in credit. Your rate limit resets in ~5s."}', 5),
        ({}, b'{"detail":"slow down"}', 30),
        ({}, b"<html>", 30),
        ({"Retry-After": "86400"}, b"", 120),
        ({"Retry-After": "-3"}, b"", 0),
        ({"Retry-After": "soon"}, b'{"retry_after":true,"detail":"2 sec"}', 2),
    ],
)
def test_the_wait_after_a_429_comes_from_the_header_the_field_or_the_words(
    headers: dict[str, str], body: bytes, seconds: float
) -> None:
    assert retry_after(headers, body) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    header = email.utils.formatdate(time.time() + 40, usegmt=True)
    assert 38 <= retry_after({"Retry-After": header}, b"") <= 40


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        ("NSFW content detected. Try running it again, or try a different prompt.", "content_rejected", pb.FAILURE_KIND_PERMANENT),
        ("All generated images contained NSFW content.", "content_rejected", pb.FAILURE_KIND_PERMANENT),
        ("The input was flagged as sensitive (E005)", "content_rejected", pb.FAILURE_KIND_PERMANENT),
        ("Flagged by safety filters", "content_rejected", pb.FAILURE_KIND_PERMANENT),
        ("violates our content policy", "content_rejected", pb.FAILURE_KIND_PERMANENT),
        ("CUDA out of memory. Tried to allocate 2 GiB", "model_oom", pb.FAILURE_KIND_PERMANENT),
        ("E1001", "model_oom", pb.FAILURE_KIND_PERMANENT),
        ("Prediction interrupted; please retry (code: PA)", "provider_transient", pb.FAILURE_KIND_TRANSIENT),
        ("unexpected error (E1000)", "provider_transient", pb.FAILURE_KIND_TRANSIENT),
        ("E6716 timeout starting", "provider_transient", pb.FAILURE_KIND_TRANSIENT),
        ("E4875", "provider_bug", pb.FAILURE_KIND_TRANSIENT),
        ("list index out of range", "model_error", pb.FAILURE_KIND_PERMANENT),
        ({"why": "object"}, "model_error", pb.FAILURE_KIND_PERMANENT),
        (None, "model_error", pb.FAILURE_KIND_PERMANENT),
    ],
)
def test_a_failed_prediction_is_classified_by_its_error(error: object, code: str, kind: int) -> None:
    found, found_kind, message = failure(error)
    assert (found, found_kind) == (code, kind)
    assert message


def test_an_endless_error_text_is_cut() -> None:
    assert len(failure("x" * 100_000)[2]) == 2000
