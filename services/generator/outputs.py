"""What a prediction's `output` holds: files to fetch, files given in place, and values that have no file."""

import base64
import binascii
import urllib.parse
from dataclasses import dataclass
from typing import Any

import orjson

MAX_OUTPUTS = 256
"""More files than any model makes; a longer list is refused rather than fetched for hours."""


class UnusableOutput(Exception):
    """The output cannot be stored at all."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is the job's error_code."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Linked:
    """A file behind a URL."""

    url: str


@dataclass(frozen=True)
class Inline:
    """A file in a data: URI."""

    uri: str

    def decode(self) -> bytes:
        """Its bytes; raises UnusableOutput."""
        header, _, body = self.uri.partition(",")
        try:
            if header.endswith(";base64"):
                return base64.b64decode(urllib.parse.unquote_to_bytes(body), validate=True)
            return urllib.parse.unquote_to_bytes(body)
        except (ValueError, binascii.Error):
            raise UnusableOutput("output_truncated", "an output given in place is not valid base64") from None


@dataclass(frozen=True)
class Value:
    """What has no file: text, numbers, objects."""

    json: str
    """The value as JSON text."""
    content_type: str
    """text/plain for a string, application/json for the rest."""


Source = Linked | Inline | Value


def collect(output: Any) -> list[Source]:
    """Everything in `output`, in the order in which it is written there; raises UnusableOutput where there is nothing.

    A list of strings without any URL is what a language model streamed: it is joined. What stands beside files, such as a caption,
    is kept as one value after them, with null in the place of each file.
    """
    files: list[Source] = []
    rest = _walk(output, files)
    if len(files) > MAX_OUTPUTS:
        raise UnusableOutput("output_too_large", f"the model returned {len(files)} files; {MAX_OUTPUTS} are stored at most")
    if files:
        return [*files, *([_value(rest)] if _holds_anything(rest) else [])]
    if output is None or output == [] or output == {}:
        raise UnusableOutput("output_missing", "the model succeeded without any output")
    if isinstance(output, list) and all(isinstance(part, str) for part in output):
        return [_value("".join(output))]
    return [_value(output)]


def _walk(node: Any, files: list[Source]) -> Any:
    match node:
        case str():
            if (source := _file(node)) is None:
                return node
            files.append(source)
            return None
        case list():
            return [_walk(part, files) for part in node]
        case dict():
            return {key: _walk(part, files) for key, part in node.items()}
    return node


def _file(text: str) -> Source | None:
    if text.startswith("data:") and "," in text:
        return Inline(text)
    if text.startswith(("http://", "https://")) and not any(character.isspace() for character in text):
        return Linked(text)
    return None


def _holds_anything(node: Any) -> bool:
    match node:
        case list():
            return any(_holds_anything(part) for part in node)
        case dict():
            return any(_holds_anything(part) for part in node.values())
    return node is not None


def _value(value: Any) -> Value:
    return Value(orjson.dumps(value).decode(), "text/plain" if isinstance(value, str) else "application/json")
