"""The scheme and host that a caller used, which every link in an answer begins with."""

import re

from starlette.requests import Request

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def base_url(request: Request) -> str:
    """`https://host[:port]` without a slash at its end; where the Host header is no host, the address that was connected to."""
    scope = request.scope
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        address = scope.get("server") or ("localhost", None)
        host = f"{address[0]}:{address[1]}" if address[1] else address[0]
    return f"{scope['scheme']}://{host}{scope.get('root_path', '')}"
