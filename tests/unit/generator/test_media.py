"""What a file is, by its first bytes."""

import io

import pytest
from PIL import Image

from generator.media import NotMedia, dimensions, sniff


def picture(form: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((321, 123), 90).convert("RGB").save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "options", "content_type", "extension"),
    [
        ("PNG", {}, "image/png", "png"),
        ("JPEG", {}, "image/jpeg", "jpg"),
        ("GIF", {}, "image/gif", "gif"),
        ("WEBP", {"lossless": False}, "image/webp", "webp"),
        ("WEBP", {"lossless": True}, "image/webp", "webp"),
        ("WEBP", {"exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"}, "image/webp", "webp"),
    ],
)
def test_a_picture_is_known_with_its_size_by_its_first_kilobytes(
    form: str, options: dict[str, object], content_type: str, extension: str
) -> None:
    prefix = picture(form, **options)[:4096]
    media = sniff(prefix)
    assert media == (content_type, extension)
    assert dimensions(prefix, media) == (321, 123)


@pytest.mark.parametrize(
    ("prefix", "content_type"),
    [
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2mp41", "video/mp4"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm", "video/webm"),
        (b"RIFF\x24\x08\x00\x00WAVEfmt ", "audio/wav"),
        (b"ID3\x04\x00\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x00", "audio/mpeg"),
        (b"fLaC\x00\x00\x00\x22", "audio/flac"),
        (b"OggS\x00\x02", "audio/ogg"),
        (b"glTF\x02\x00\x00\x00", "model/gltf-binary"),
        (b"PK\x03\x04\x14\x00", "application/zip"),
    ],
)
def test_sound_video_and_models_are_known_by_their_signatures(prefix: bytes, content_type: str) -> None:
    media = sniff(prefix)
    assert media.content_type == content_type
    assert dimensions(prefix, media) is None


@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\xef\xbb\xbf\n  <HTML>", "HTML"),
        (b"<?xml version='1.0'?><svg/>", "XML"),
        (b"<svg xmlns=", "XML"),
        (b'{"detail":"gone"}', "no known media type"),
        (b"", "empty"),
        (b"RIFF\x00\x00\x00\x00ABCD", "no known media type"),
        (b"ABCDEFGHWEBP", "no known media type"),
        (b"#!/bin/sh\n", "no known media type"),
    ],
)
def test_what_a_browser_might_run_and_what_nobody_knows_is_refused(prefix: bytes, sentence: str) -> None:
    with pytest.raises(NotMedia, match=sentence):
        sniff(prefix)


@pytest.mark.parametrize("cut", [9, 12, 20, 25])
def test_a_header_that_is_cut_short_has_no_size_and_does_no_harm(cut: int) -> None:
    for form in ("PNG", "JPEG", "GIF", "WEBP"):
        prefix = picture(form)[:cut]
        try:
            media = sniff(prefix)
        except NotMedia:
            continue
        assert dimensions(prefix, media) in (None, (321, 123))
