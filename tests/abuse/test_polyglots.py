"""Polyglots and files under a wrong name, through the real sniffing and the real download."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from abuse.polyglots import REFUSED, STORED
from gateway.media import SHOWN
from generator.hosts import AllowedHosts, HostPattern
from generator.media import NotMedia, dimensions, sniff
from generator.outputs import UnusableOutput
from generator.transfer import Transfers, download_session

KINDS = {content_type for content_type, _ in STORED.values()}

ACTIVE = ("html", "svg", "xml", "script", "css", "pdf", "wasm", "flash", "multipart", "message", "text")
"""Words of media types that a browser may run something of."""

LIES = [
    "text/html; charset=utf-8",
    "image/svg+xml",
    "application/javascript",
    "image/png",
    "video/mp4",
    "multipart/related",
    "",
    "x",
]
"""What a server may say that a file is."""


def test_the_corpus_is_large() -> None:
    assert len(REFUSED) + len(STORED) >= 120


def test_no_type_that_is_stored_can_be_run_and_only_pictures_sound_and_film_are_shown_in_place() -> None:
    for kind in KINDS | SHOWN:
        assert not any(word in kind for word in ACTIVE), kind
    assert all(kind.startswith(("image/", "audio/", "video/")) for kind in SHOWN)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_media_is_refused(content: bytes) -> None:
    with pytest.raises(NotMedia):
        sniff(content[:131_072])


@pytest.mark.parametrize(("kind", "content"), STORED.values(), ids=STORED.keys())
def test_what_begins_as_media_is_that_and_its_header_does_no_harm(kind: str, content: bytes) -> None:
    media = sniff(content)
    assert media.content_type == kind
    pixels = dimensions(content, media)
    assert pixels is None or all(size > 0 for size in pixels)


class Kept:
    """A bucket in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, bytes]] = {}

    async def put(self, key: str, body: AsyncIterator[bytes], size: int, content_type: str) -> None:
        content = b"".join([chunk async for chunk in body])
        assert len(content) == size
        self.objects[key] = (content_type, content)


async def test_neither_the_server_nor_the_name_of_a_file_decides_what_it_is_stored_as() -> None:
    """Every file is sent under every lie, with a length and without one."""
    files = [*((name, None, content) for name, content in REFUSED.items())]
    files += [(name, kind, content) for name, (kind, content) in STORED.items()]
    paths = {f"/{number}.{ending}": content for number, (_, _, content) in enumerate(files) for ending in ("html", "svg", "png")}

    async def lie(request: web.Request) -> web.StreamResponse:
        headers = {
            "Content-Disposition": 'inline; filename="x.html"',
            "X-Content-Type-Options": "",
            "Location": "http://evil.test/",
        }
        if said := request.query["as"]:
            headers["Content-Type"] = said
        response = web.StreamResponse(headers=headers)
        if request.query["length"] == "no":
            response.enable_chunked_encoding()
        else:
            response.content_length = len(paths[request.path])
        await response.prepare(request)
        if paths[request.path]:
            await response.write(paths[request.path])
        return response

    runner = web.ServerRunner(web.Server(lie))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    kept, allowed = Kept(), AllowedHosts([HostPattern(host, port)])
    bucket: Any = kept
    try:
        async with download_session(allowed) as session:
            transfers = Transfers(session, allowed, bucket, 10_000_000, None)

            async def one(number: int, said: str, ending: str, length: str) -> None:
                name, kind, content = files[number]
                key = f"{number}-{LIES.index(said)}-{length}"
                url = f"http://{host}:{port}/{number}.{ending}?as={said.replace(' ', '%20').replace('+', '%2B')}&length={length}"
                if kind is None:
                    with pytest.raises(UnusableOutput) as refused:
                        await transfers.fetch(url, key, 0)
                    assert refused.value.code == "output_not_media", name
                    return
                stored = await transfers.fetch(url, key, 0)
                assert stored.content_type == kind and stored.object_key == f"{key}.{sniff(content).extension}", name
                assert kept.objects[stored.object_key] == (kind, content), name
                assert stored.sha256 == hashlib.sha256(content).hexdigest()

            endings = itertools.cycle(("html", "svg", "png"))
            for number in range(len(files)):
                async with asyncio.TaskGroup() as together:
                    for said, length in itertools.product(LIES, ("yes", "no")):
                        together.create_task(one(number, said, next(endings), length))
    finally:
        await runner.cleanup()
    assert len(kept.objects) == len(STORED) * len(LIES) * 2
