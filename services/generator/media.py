"""What a file is, by its first bytes: never by its name, nor by what the server that sent it says."""

import io
import struct
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

PREFIX_BYTES = 128 * 1024
"""How much of a file is looked at: a JPEG tells its size only after its metadata."""


class NotMedia(Exception):
    """The bytes are not of a type that is stored: HTML, SVG and other text above all, which a browser might run."""


class Media(NamedTuple):
    """A type that is stored."""

    content_type: str
    """The media type that the object is stored and served with."""
    extension: str
    """The end of the object's key."""


_SIGNATURES: list[tuple[int, bytes, Media]] = [
    (0, b"\x89PNG\r\n\x1a\n", Media("image/png", "png")),
    (0, b"\xff\xd8\xff", Media("image/jpeg", "jpg")),
    (0, b"GIF87a", Media("image/gif", "gif")),
    (0, b"GIF89a", Media("image/gif", "gif")),
    (8, b"WEBP", Media("image/webp", "webp")),
    (8, b"WAVE", Media("audio/wav", "wav")),
    (8, b"AVI ", Media("video/x-msvideo", "avi")),
    (4, b"ftypavif", Media("image/avif", "avif")),
    (4, b"ftypavis", Media("image/avif", "avif")),
    (4, b"ftypheic", Media("image/heic", "heic")),
    (4, b"ftypM4A", Media("audio/mp4", "m4a")),
    (4, b"ftypqt  ", Media("video/quicktime", "mov")),
    (4, b"ftyp", Media("video/mp4", "mp4")),
    (4, b"moov", Media("video/quicktime", "mov")),
    (4, b"wide", Media("video/quicktime", "mov")),
    (0, b"ID3", Media("audio/mpeg", "mp3")),
    (0, b"fLaC", Media("audio/flac", "flac")),
    (0, b"OggS", Media("audio/ogg", "ogg")),
    (0, b"II*\x00", Media("image/tiff", "tif")),
    (0, b"MM\x00*", Media("image/tiff", "tif")),
    (0, b"glTF", Media("model/gltf-binary", "glb")),
    (0, b"ply\n", Media("model/x-ply", "ply")),
    (0, b"PK\x03\x04", Media("application/zip", "zip")),
]
"""Place of the signature, its bytes, and what they mean; the first that fits counts, so narrow ones come first."""

_RIFF = {"image/webp", "audio/wav", "video/x-msvideo"}

_BOX = 4
"""Where the name of an ISO medium's first box stands, after its size, which begins with a zero below 16 MiB. No text does."""


def sniff(prefix: bytes) -> Media:
    """The type of a file that begins with `prefix`. Raises NotMedia, saying what it looks like instead."""
    for place, signature, media in _SIGNATURES:
        if not prefix.startswith(signature, place) or (place == _BOX and prefix[0]):
            continue
        if media.content_type not in _RIFF or prefix.startswith(b"RIFF"):
            return media
    if prefix.startswith(b"\x1aE\xdf\xa3"):
        return Media("video/webm", "webm") if b"webm" in prefix[:64] else Media("video/x-matroska", "mkv")
    if len(prefix) > 1 and prefix[0] == 0xFF and prefix[1] & 0xE6 == 0xE2:
        return Media("audio/mpeg", "mp3")  # the header of a frame of layer III: eleven set bits, the version, 01
    start = prefix[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not prefix:
        raise NotMedia("the file is empty")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise NotMedia("the file is an HTML page")
    if start.startswith(b"<"):
        raise NotMedia("the file is XML or SVG")
    raise NotMedia(f"the file is of no known media type (it begins with {prefix[:8].hex()})")


def dimensions(prefix: bytes, media: Media) -> tuple[int, int] | None:
    """Width and height in pixels of a picture, from its header alone; None where it does not tell."""
    if media.content_type == "image/webp":
        return _webp_dimensions(prefix)
    if media.content_type not in ("image/png", "image/jpeg", "image/gif"):
        return None
    try:
        # Opening reads the header only; a picture that would be too large to decode is of no harm here.
        with Image.open(io.BytesIO(prefix), formats=[media.content_type.removeprefix("image/")]) as picture:
            return picture.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _webp_dimensions(prefix: bytes) -> tuple[int, int] | None:
    """Pillow wants the whole of a WebP file, so its three kinds of header are read here."""
    try:
        match prefix[12:16]:
            case b"VP8 ":
                width, height = struct.unpack_from("<HH", prefix, 26)
                return width & 0x3FFF, height & 0x3FFF
            case b"VP8L":
                (bits,) = struct.unpack_from("<I", prefix, 21)
                return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            case b"VP8X":
                return int.from_bytes(prefix[24:27], "little") + 1, int.from_bytes(prefix[27:30], "little") + 1
    except struct.error:
        pass
    return None
