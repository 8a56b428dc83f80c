import asyncio
import hashlib
from datetime import timedelta

import pytest

from mediagen.jobs.v1 import jobs_pb2
from waiting import until

CONTENT = bytes(range(256)) * 4096  # 1 MiB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{SHA256}"'


@pytest.fixture
def path(gateway):
    """The path of an output whose link holds token-0."""
    key = "out/a/1/0.png"
    gateway.s3.objects[f"/media/{key}"] = CONTENT
    output = jobs_pb2.Output(content_type="image/png", size=len(CONTENT), sha256=SHA256, object_key=key, access_token="token-0")
    job = gateway.jobs.add(status=jobs_pb2.JOB_STATUS_COMPLETED, media_path=key, outputs=[output])
    return f"/api/v1/images/{job.id}/0"


async def test_an_output_is_streamed_with_what_a_browser_needs_to_know(gateway, path):
    answer = await gateway.http.get(path)
    assert answer.status_code == 200 and answer.content == CONTENT
    job_id = path.split("/")[-2]
    expected = {
        "content-type": "image/png",
        "content-length": str(len(CONTENT)),
        "etag": ETAG,
        "accept-ranges": "bytes",
        "content-disposition": f'inline; filename="{job_id}-0.png"',
        "cache-control": "private, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "referrer-policy": "no-referrer",
    }
    assert {name: answer.headers[name] for name in expected} == expected


async def test_a_head_tells_the_same_and_asks_s3_nothing(gateway, path):
    head, get = await gateway.http.head(path), await gateway.http.get(path)
    differing = ("date", "x-request-id")
    assert {k: v for k, v in head.headers.items() if k not in differing} == {
        k: v for k, v in get.headers.items() if k not in differing
    }
    assert head.content == b"" and len(gateway.s3.requests) == 1


async def test_the_link_needs_no_key_and_the_key_is_not_passed_on_with_it(gateway, path):
    for client in (gateway.http, gateway.nobody):
        assert (await client.get(path + "?sig=token-0")).content == CONTENT
    assert [request.access_token for request, _ in gateway.jobs.calls["GetOutput"]] == ["token-0"] * 2
    assert not any("authorization" in metadata for _, metadata in gateway.jobs.calls["GetOutput"])
    assert (await gateway.nobody.get(path)).status_code == 401
    assert (await gateway.nobody.get(path + "?sig=token-1")).status_code == 403


RANGES = [
    ("bytes=0-9", 206, slice(0, 10)),
    ("bytes=5-5", 206, slice(5, 6)),
    ("bytes=300000-700000", 206, slice(300_000, 700_001)),
    ("bytes=1048570-", 206, slice(1_048_570, None)),
    ("bytes=1048570-99999999", 206, slice(1_048_570, None)),
    ("bytes=-6", 206, slice(-6, None)),
    ("bytes=-99999999", 206, slice(0, None)),
    ("bytes=0-", 206, slice(0, None)),
    ("bytes=1048576-", 416, None),
    ("bytes=2000000-3000000", 416, None),
    ("bytes=-0", 416, None),
    ("bytes=9-5", 200, slice(0, None)),
    ("bytes=-", 200, slice(0, None)),
    ("bytes=a-b", 200, slice(0, None)),
    ("bytes=0-1,5-6", 200, slice(0, None)),
    ("lines=0-1", 200, slice(0, None)),
]


@pytest.mark.parametrize("s3_does", ["knows ranges", "sends all of it", "sends the part with 200"])
@pytest.mark.parametrize(("value", "status", "part"), RANGES, ids=[row[0] for row in RANGES])
async def test_a_range_is_answered_with_exactly_its_bytes(gateway, path, value, status, part, s3_does):
    gateway.s3.ignores_range = s3_does == "sends all of it"
    gateway.s3.sends_parts_with_200 = s3_does == "sends the part with 200"
    answer = await gateway.http.get(path, headers={"Range": value})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}" and answer.json()["code"] == "range_not_satisfiable"
        return
    assert answer.content == CONTENT[part] and answer.headers["content-length"] == str(len(CONTENT[part]))
    if status == 206:
        start, end, _ = part.indices(len(CONTENT))
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize(
    ("if_range", "status"), [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Mon, 23 Nov 2026 21:00:00 GMT", 200)]
)
async def test_an_if_range_that_names_another_version_gets_the_whole_file(gateway, path, if_range, status):
    answer = await gateway.http.get(path, headers={"Range": "bytes=0-9", "If-Range": if_range})
    assert answer.status_code == status


@pytest.mark.parametrize(("value", "status"), [(ETAG, 304), (f'"a", W/{ETAG}', 304), ("*", 304), ('"other"', 200)])
async def test_what_the_caller_has_already_is_not_sent(gateway, path, value, status):
    answer = await gateway.http.get(path, headers={"If-None-Match": value})
    assert answer.status_code == status
    assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("content_type", ["image/svg+xml", "text/html", "application/json", "application/zip", ""])
async def test_what_could_hold_a_script_is_only_ever_a_download(gateway, content_type):
    gateway.s3.objects["/media/x"] = b"<script>"
    job = gateway.jobs.add(outputs=[jobs_pb2.Output(content_type=content_type, size=8, sha256="ab", object_key="x")])
    answer = await gateway.http.get(f"/api/v1/images/{job.id}/0")
    assert answer.content == b"<script>" and answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == content_type or answer.headers["content-type"] == "application/octet-stream"


async def test_an_empty_file_is_served(gateway):
    job = gateway.jobs.add(outputs=[jobs_pb2.Output(content_type="text/plain", size=0, sha256="e3", object_key="x")])
    answer = await gateway.http.get(f"/api/v1/images/{job.id}/0")
    assert answer.status_code == 200 and answer.content == b"" and answer.headers["content-length"] == "0"


@pytest.mark.parametrize(("status", "expected"), [(500, 503), (403, 503), (404, 404)])
async def test_when_s3_refuses_the_reader_is_told_what_to_do(gateway, path, status, expected):
    gateway.s3.status = status
    answer = await gateway.http.get(path)
    assert answer.status_code == expected and answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) == (expected == 503)
    assert "cache-control" in answer.headers and answer.headers["cache-control"] == "no-store"


async def test_an_object_of_another_size_is_not_served(gateway, path):
    gateway.s3.objects["/media/out/a/1/0.png"] = CONTENT[:-1]
    assert (await gateway.http.get(path)).status_code == 503


async def test_another_part_than_was_asked_for_is_not_served(gateway, path):
    gateway.s3.shifts_ranges = True
    assert (await gateway.http.get(path, headers={"Range": "bytes=10-19"})).status_code == 503


async def test_where_s3_ends_early_the_reader_sees_that_bytes_are_missing(gateway, path):
    gateway.s3.cut_after = 500_000
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path}?sig=token-0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        received = await reader.read(-1)
    writer.close()
    headers, _, body = received.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 200") and 0 < len(body) < len(CONTENT)
    assert CONTENT.startswith(body)


async def test_a_reader_who_leaves_ends_the_download(gateway, path):
    gateway.s3.objects["/media/out/a/1/0.png"] = b"x" * 50_000_000
    gateway.jobs.jobs[path.split("/")[-2]].outputs[0].size = 50_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path}?sig=token-0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readexactly(1000)
    writer.transport.abort()
    await until(lambda: gateway.s3.ended)


@pytest.mark.parametrize("hours", [1, -1])
async def test_media_is_served_where_the_clock_of_s3_is_an_hour_from_ours(gateway, path, hours):
    gateway.s3.ahead = timedelta(hours=hours)
    answers = [await gateway.http.get(path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == CONTENT
