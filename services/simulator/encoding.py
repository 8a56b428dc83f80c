"""JSON as the API writes it, in answers and in webhooks alike."""

from typing import Any
from urllib.parse import urlsplit

import orjson

from simulator.prediction import OutputFile


def encoded(body: Any, api_url: str, files_port: int) -> bytes:
    """The body as JSON; output files in it become URLs on the file port of the host that the client called the API by."""
    called = urlsplit(api_url)
    files_url = f"{called.scheme}://{called.hostname}:{files_port}"

    def link(file: Any) -> str:
        if isinstance(file, OutputFile):
            return files_url + file.path
        raise TypeError(type(file))

    return orjson.dumps(body, default=link, option=orjson.OPT_PASSTHROUGH_DATACLASS)
