"""Videos for video models: the prompt's picture with a slow zoom, as an MP4 file.

Pillow writes animated AVIF, which is AV1 in the same boxes as MP4 with other labels; changing these makes it an MP4.
"""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from simulator.drawing import paint

SIZE = (640, 360)
"""Width and height, in pixels."""

FRAMES = 24
FRAME_MILLISECONDS = 83

_PARENTS = (b"moov", b"trak", b"mdia")
"""Boxes that hold only boxes, and among them those that are changed here."""


def film(prompt: str, seed: int) -> bytes:
    """An MP4 file of two seconds; the same bytes for the same arguments."""
    width, height = SIZE
    still = paint(prompt, seed, (width * 2, height * 2))
    frames = []
    for place in range(FRAMES):
        margin = (width * 0.12 * place / FRAMES, height * 0.12 * place / FRAMES)
        view = (*margin, still.width - margin[0], still.height - margin[1])
        frames.append(still.resize(SIZE, Image.Resampling.BILINEAR, box=view))
    file = io.BytesIO()
    frames[0].save(
        file,
        "AVIF",
        save_all=True,
        append_images=frames[1:],
        duration=FRAME_MILLISECONDS,
        quality=60,
        speed=10,
        max_threads=1,
    )
    return as_mp4(file.getvalue())


def as_mp4(avif: bytes) -> bytes:
    """The same video with the labels of MP4. No byte moves, so the offsets within stay right."""
    film = bytearray(avif)
    duration = FRAMES * FRAME_MILLISECONDS
    for kind, start, end in list(_boxes(film, 0, len(film))):
        body = start + 8
        match kind:
            case b"ftyp":
                film[body:end] = (b"isom\0\0\2\0" + b"isomiso6av01mp41mp42iso2iso5" * 2)[: end - body]
            case b"meta" | b"edts":  # the still picture, and the endless repetition
                film[start + 4 : body] = b"free"
            case b"hdlr":
                film[body + 8 : body + 12] = b"vide"
            case b"mvhd" | b"mdhd":  # version 1: two times, the units of a second, the duration
                struct.pack_into(">QQIQ", film, body + 4, 0, 0, 1000, duration)
            case b"tkhd":  # version 1: two times, the track's number, four bytes of nothing, the duration
                struct.pack_into(">QQIIQ", film, body + 4, 0, 0, 1, 0, duration)
    return bytes(film)


def _boxes(film: bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Every box between two places, and those within it: its kind, where it starts, and where it ends."""
    while start < end:
        size, kind = struct.unpack_from(">I4s", film, start)
        yield kind, start, start + size
        if kind in _PARENTS:
            yield from _boxes(film, start + 8, start + size)
        start += size
