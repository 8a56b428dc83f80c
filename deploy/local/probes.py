"""Cheap questions to a server on this machine: does it answer yet? None of them raises."""

import http.client
import socket

TIMEOUT_SECONDS = 2.0


def accepts_connections(port: int) -> bool:
    """Whether something listens on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def answers_http(port: int, path: str = "/", *, only_ok: bool = False) -> bool:
    """Whether an HTTP server answers there: with any status, or with 200 alone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200 or not only_ok
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def speaks_amqp(port: int) -> bool:
    """Whether a broker answers AMQP's greeting with its first frame (a method on channel 0)."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False
