"""Fault rules about downloads of output files."""

from typing import Literal

from pydantic import Field

from simulator.rule import Rule, Seconds


class FileRule(Rule):
    """A rule about downloads of output files; `times` counts downloads."""

    index: int | None = Field(None, ge=0)
    """Which of the prediction's files; None is all."""


class FileTruncated(FileRule):
    """The body ends too early, after the share `keep` of it."""

    effect: Literal["file_truncated"]
    keep: float = Field(0.5, ge=0, lt=1)
    length: Literal["full", "short", "none"] = "full"
    """Content-Length promises the whole file; only what comes (a complete answer, half a picture); or there is none."""


class FileChunked(FileRule):
    """The whole file, without a Content-Length."""

    effect: Literal["file_chunked"]


class FileBig(FileRule):
    """The file, followed by as many bytes as make it `size` long: generated on the way, and stored nowhere."""

    effect: Literal["file_big"]
    size: int = Field(ge=0, le=1 << 40)
    length: bool = True
    """Send Content-Length."""


class FileHtml(FileRule):
    """An HTML page with status 200 instead of the file."""

    effect: Literal["file_html"]
    content_type: str = "text/html"


class FileRedirect(FileRule):
    """A redirect: to any URL, or to the file itself (then set `times`, or it never ends)."""

    effect: Literal["file_redirect"]
    to: str | None = Field(None, max_length=2000, pattern=r"^[!-~]*$")
    status: Literal[301, 302, 303, 307, 308] = 302


class FileAnswer(FileRule):
    """An error status instead of the file: 404 is what an expired file gives."""

    effect: Literal["file_answer"]
    status: int = Field(404, ge=400, le=599)


class FileSlow(FileRule):
    """The answer comes `seconds` later, or its body no faster than `bytes_per_second`."""

    effect: Literal["file_slow"]
    seconds: Seconds = 0
    bytes_per_second: int | None = Field(None, ge=1)


FILE_BREAKERS = (FileTruncated, FileChunked, FileBig, FileHtml, FileRedirect, FileAnswer)
"""What may be done to a file, of which a download gets one; slowness comes on top."""
