"""`python -m chassis.healthcheck`: whether the service of this container is ready; the health command of its image.

It asks the port that the service's own settings name, and knows nothing else of the service: it has to be quick.
"""

import http.client
import os
import sys
from collections.abc import Mapping

from chassis.settings import HostPort, parse_host_port

SECONDS = 4.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  whom to ask where a server listens on every address


def health_address(environment: Mapping[str, str]) -> HostPort:
    """Where /readyz is answered: on the port of the metrics, or, of a service that has none, on its only one.

    Raises ValueError where no setting says it.
    """
    service = environment.get("SERVICE", "").upper()
    for setting in (f"{service}_METRICS_LISTEN", f"{service}_LISTEN"):
        if setting in environment:
            found = parse_host_port(environment[setting])
            assert isinstance(found, HostPort)
            return HostPort(ANYWHERE.get(found.host, found.host), found.port)
    raise ValueError("SERVICE and its …_METRICS_LISTEN or …_LISTEN have to be set")


def main() -> int:
    """0 where the service is ready, otherwise 1 and a line that says why."""
    try:
        host, port = health_address(os.environ)
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        status, said = response.status, response.read(1000).decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        status, said = 0, str(error)
    print(said)  # noqa: T201  Docker shows it in the container's health
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
