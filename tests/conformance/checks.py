"""What the scripts of both clients need: a receiver of webhooks, the simulator's control interface, and a list of checks.

It runs in the clients' own environments, so that it imports nothing but the standard library.
"""

import json
import time
import traceback
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Arrival:
    """A webhook that arrived."""

    headers: dict[str, str]
    body: str


class Receiver:
    """Receives webhooks on a port of loopback until the script ends."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks"
        self.arrivals: list[Arrival] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.arrivals.append(Arrival({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def arrived(self, count: int) -> list[Arrival]:
        """The arrivals, once there are so many."""
        until(lambda: len(self.arrivals) >= count, f"{count} webhooks arrived")
        return self.arrivals


class Control:
    """The simulator's control interface."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/control"

    def reset(self) -> None:
        self._call("POST", "/reset")

    def faults(self, *rules: dict[str, Any]) -> None:
        self._call("PUT", "/faults", {"rules": rules})

    def ledger(self) -> dict[str, Any]:
        ledger: dict[str, Any] = json.loads(self._call("GET", "/ledger"))
        return ledger

    def _call(self, method: str, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self._url + path, data, method=method)) as answer:
            content: bytes = answer.read()
            return content


def until(condition: Callable[[], bool], what: str = "") -> None:
    """Waits until the condition is true, for 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {what or condition}"
        time.sleep(0.05)


def run_checks(control: Control, checks: list[Callable[[], None]]) -> int:
    """Runs each check on a simulator that has forgotten everything; prints the names of those that went well."""
    failed = 0
    for check in checks:
        control.reset()
        try:
            check()
        except Exception:
            failed += 1
            print(f"FAILED {check.__name__}", flush=True)
            traceback.print_exc()
        else:
            print(check.__name__, flush=True)
    return 1 if failed else 0
