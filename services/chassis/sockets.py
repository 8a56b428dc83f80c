"""Taking an address to listen on, or saying in one line why it cannot be had."""

import socket

from chassis.lifecycle import StartupError
from chassis.settings import HostPort


def bind(listen: HostPort) -> socket.socket:
    """Binds the address before anything else starts; raises StartupError where it is taken."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(tuple(listen))
    except OSError as error:
        bound.close()
        raise StartupError(f"cannot listen on {listen}: {error.strerror}") from None
    return bound
