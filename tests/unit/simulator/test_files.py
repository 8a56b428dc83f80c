"""Downloads of output files: right ones, and every fault of a file host."""

import hashlib
import io
import time
import wave

import httpx
import pytest
from PIL import Image


async def output_url(simulator, prompt="a fox", **values) -> str:
    output = (await simulator.finished(await simulator.create(prompt, **values)))["output"]
    return output if isinstance(output, str) else output[0]


@pytest.mark.parametrize(
    ("extension", "media_type", "name"),
    [("png", "image/png", "PNG"), ("jpg", "image/jpeg", "JPEG"), ("webp", "image/webp", "WEBP")],
)
async def test_a_picture_comes_in_the_format_and_size_asked_for(simulator, extension, media_type, name):
    url = await output_url(simulator, output_format=extension, aspect_ratio="16:9", megapixels="0.25")
    answer = await simulator.client.get(url)
    assert answer.headers["Content-Type"] == media_type
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    image = Image.open(io.BytesIO(answer.content))
    assert (image.format, image.size) == (name, (672, 384))
    served = (await simulator.ledger())["predictions"][0]["files"][f"out-0.{extension}"]
    assert served == {"content_type": media_type, "size": len(answer.content), "sha256": hashlib.sha256(answer.content).hexdigest()}


async def test_each_of_several_outputs_is_a_picture_of_its_own(simulator):
    found = await simulator.finished(await simulator.create(num_outputs=3, megapixels="0.25"))
    contents = {(await simulator.client.get(url)).content for url in found["output"]}
    assert len(contents) == 3


async def test_a_video_and_a_sound_are_real_files(simulator):
    film = await simulator.client.get(await output_url(simulator, version="minimax/video-01"))
    assert (film.headers["Content-Type"], film.content[4:12]) == ("video/mp4", b"ftypisom")
    sound = await simulator.client.get(await output_url(simulator, version="google/lyria-2"))
    assert sound.headers["Content-Type"] == "audio/wav"
    with wave.open(io.BytesIO(sound.content)) as track:
        assert track.getnframes() / track.getframerate() == pytest.approx(8, abs=0.1)


async def test_head_range_and_etag_follow_the_rules_of_http(simulator):
    url = await output_url(simulator)
    whole = await simulator.client.get(url)
    head = await simulator.client.head(url)
    assert (head.headers["Content-Length"], head.headers["ETag"], head.content) == (
        str(len(whole.content)),
        whole.headers["ETag"],
        b"",
    )

    async def part(header):
        return await simulator.client.get(url, headers={"Range": header})

    first, last, rest = await part("bytes=0-9"), await part("bytes=-7"), await part("bytes=100-")
    assert (first.status_code, first.content, first.headers["Content-Range"]) == (
        206,
        whole.content[:10],
        f"bytes 0-9/{len(whole.content)}",
    )
    assert (last.content, rest.content) == (whole.content[-7:], whole.content[100:])
    beyond = await part("bytes=99999999-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole.content)}")
    assert (await part("lines=1-2")).status_code == 200
    assert (await simulator.client.get(url, headers={"If-None-Match": whole.headers["ETag"]})).status_code == 304
    assert (await simulator.client.post(url)).status_code == 405


async def test_a_leaked_token_is_seen(simulator):
    url = await output_url(simulator)
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(url)).status_code == 200
        assert (await simulator.ledger())["authorization_seen_on_files"] is False
        await plain.get(url, headers={"Authorization": "Bearer r8_test"})
    ledger = await simulator.ledger()
    assert (ledger["authorization_seen_on_files"], ledger["downloads"]) == (True, 2)


async def test_a_guessed_url_is_404(simulator):
    url = await output_url(simulator)
    base, _, name = url.rpartition("/")
    assert (await simulator.client.get(f"{base}x/{name}")).status_code == 404
    assert (await simulator.client.get(f"{base}/out-7.webp")).status_code == 404


@pytest.mark.parametrize("length", ["full", "none"])
async def test_a_truncated_body_ends_the_connection_too_early(simulator, length):
    url = await output_url(simulator)
    await simulator.faults({"effect": "file_truncated", "keep": 0.5, "length": length, "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        await simulator.client.get(url)
    assert (await simulator.client.get(url)).status_code == 200


async def test_a_short_length_looks_complete_and_is_not(simulator):
    url = await output_url(simulator, output_format="png")
    await simulator.faults({"effect": "file_truncated", "length": "short"})
    answer = await simulator.client.get(url)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(answer.content)).load()


async def test_a_chunked_body_has_no_length_and_is_whole(simulator):
    url = await output_url(simulator)
    whole = (await simulator.client.get(url)).content
    await simulator.faults({"effect": "file_chunked"})
    answer = await simulator.client.get(url)
    assert "Content-Length" not in answer.headers
    assert answer.content == whole


@pytest.mark.parametrize("length", [True, False])
async def test_a_big_file_is_as_big_as_asked_for_and_its_sha256_is_known(simulator, length):
    url = await output_url(simulator, output_format="png")
    await simulator.faults({"effect": "file_big", "size": 30_000_000, "length": length})
    answer = await simulator.client.get(url)
    assert answer.headers.get("Content-Length") == ("30000000" if length else None)
    served = (await simulator.ledger())["predictions"][0]["files"]["out-0.png"]
    assert (served["size"], served["sha256"]) == (len(answer.content), hashlib.sha256(answer.content).hexdigest())
    assert served["size"] == 30_000_000
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")


async def test_a_part_of_a_big_file_is_the_same_as_in_the_whole(simulator):
    url = await output_url(simulator)
    await simulator.faults({"effect": "file_big", "size": 5_000_000})
    whole = (await simulator.client.get(url)).content
    part = await simulator.client.get(url, headers={"Range": "bytes=1000000-4100000"})
    assert (part.status_code, part.content) == (206, whole[1_000_000:4_100_001])


async def test_an_html_page_comes_in_place_of_the_picture(simulator):
    url = await output_url(simulator)
    await simulator.faults({"effect": "file_html"}, {"effect": "file_html", "content_type": "image/png"})
    answer = await simulator.client.get(url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


async def test_a_redirect_leads_anywhere_or_back(simulator):
    url = await output_url(simulator)
    await simulator.faults(
        {"effect": "file_redirect", "to": "http://169.254.169.254/latest/meta-data", "times": 1},
        {"effect": "file_redirect", "times": 1, "status": 307},
    )
    away = await simulator.client.get(url)
    assert (away.status_code, away.headers["Location"]) == (302, "http://169.254.169.254/latest/meta-data")
    back = await simulator.client.get(url, follow_redirects=True)
    assert [hop.status_code for hop in back.history] == [307]
    assert back.status_code == 200


async def test_a_file_may_be_gone_or_slow(simulator):
    url = await output_url(simulator)
    await simulator.faults(
        {"effect": "file_answer", "status": 404, "times": 1},
        {"effect": "file_answer", "status": 503, "times": 1},
        {"effect": "file_slow", "seconds": 0.3},
    )
    begun = time.monotonic()
    assert [(await simulator.client.get(url)).status_code for _ in range(3)] == [404, 503, 200]
    assert time.monotonic() - begun > 0.9


async def test_a_slow_body_keeps_its_pace(simulator):
    url = await output_url(simulator, megapixels="0.25")
    size = len((await simulator.client.get(url)).content)
    await simulator.faults({"effect": "file_slow", "bytes_per_second": size * 2})
    begun = time.monotonic()
    assert len((await simulator.client.get(url)).content) == size
    assert 0.35 < time.monotonic() - begun < 2


async def test_a_rule_may_be_about_one_of_several_files(simulator):
    found = await simulator.finished(await simulator.create(num_outputs=2, megapixels="0.25"))
    await simulator.faults({"effect": "file_answer", "index": 1})
    assert [(await simulator.client.get(url)).status_code for url in found["output"]] == [200, 404]
