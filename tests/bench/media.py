"""Row h: megabytes a second from the provider into S3, beside a bare copy in the same run."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

import ports
from bench.copying import Copying
from bench.load import same_imports
from bench.meter import between
from bench.records import Sample
from bench.run import Run

SIZE = 16_000_000
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
WAYS = ("mediagen", "bare")


async def row_h(run: Run) -> None:
    """Each way by turns, with 16 copies at a time."""
    bucket = run.rig.servers.bucket()
    async with _source() as port:
        for number in range(run.settings.rounds):
            for way in WAYS:
                run.say(f"row h: 16 copies of {SIZE / 1e6:g} MB at a time, {way}, round {number + 1} of {run.settings.rounds}")
                copying = Copying(way, port, SIZE, **asdict(bucket), seconds=run.settings.seconds)
                before = run.rig.meter.read()
                copied, pid_cpu = await _copied(copying)
                usage = between(before, run.rig.meter.read())
                store = usage.cpu.get("s3", 0.0) / (copied["mb_per_second"] * usage.seconds / 1000)
                sample = Sample(
                    copied["mb_per_second"],
                    cpu={"copy": copied["cpu_per_gb"], "s3": store},
                    foreign=usage.foreign,
                    client=pid_cpu,
                    counts={"MiB each": copied["mib_each"]},
                )
                run.book.add("h", f"16 copies of {SIZE / 1e6:g} MB at a time", way, "MB/s", sample)


async def _copied(copying: Copying) -> tuple[dict[str, float], float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.copying"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=same_imports(),
    )
    printed, _ = await process.communicate(json.dumps(asdict(copying)).encode() + b"\n")
    assert process.returncode == 0, f"bench.copying {copying.way} has failed"
    copied = json.loads(printed)
    return copied, copied["cpu_per_gb"] * copied["mb_per_second"] / 1000


@asynccontextmanager
async def _source() -> AsyncIterator[int]:
    """A server whose every path is the same medium, as its port. It sends the file from the kernel, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "medium.mp4"
        file.write_bytes(MP4.ljust(SIZE, b"\x55"))

        async def medium(_: web.Request) -> web.FileResponse:
            return web.FileResponse(file)

        app = web.Application()
        app.router.add_get("/{name}", medium)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        port = ports.any_free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield port
        finally:
            await runner.cleanup()
