"""A proxy on each link of one system, and the settings that lead the services through them."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import ports
from chaos.proxy import Proxy
from stack import Stack

ASIDE = "127.0.0.2"
"""Where the simulator is reached through a proxy: it names its files by the host that it was called by and its own files port, so
that port of this address leads to them through a proxy, too."""


class Links:
    """The links, by name. They exist before the system does: each asks for its target when somebody connects."""

    def __init__(self, database_url: str, amqp_url: str, s3_endpoint: str) -> None:
        """The addresses of the servers themselves."""
        self._urls = {"database": database_url, "amqp": amqp_url, "s3": s3_endpoint}
        self._files_port = ports.any_free_port()
        self.stack: Stack | None = None
        """To be set before the system starts."""
        self.gateway_jobs = self._to_part("JOBS_PORT")
        self.generator_jobs = self._to_part("JOBS_WORKER_PORT")
        self.jobs_postgresql = self._to_server("database")
        self.jobs_rabbitmq = self._to_server("amqp")
        self.generator_rabbitmq = self._to_server("amqp")
        self.generator_replicate = self._to_part("SIMULATOR_PORT", host=ASIDE)
        self.generator_files = Proxy(lambda: ("127.0.0.1", self._files_port), ASIDE, self._files_port)
        self.generator_s3 = self._to_server("s3")
        self.gateway_s3 = self._to_server("s3")

    def settings(self) -> Mapping[str, str]:
        """What the services have to be told."""
        return {
            "GATEWAY_JOBS_ADDRESS": self.gateway_jobs.address,
            "GATEWAY_S3_ENDPOINT": f"http://{self.gateway_s3.address}",
            "GENERATOR_JOBS_ADDRESS": self.generator_jobs.address,
            "GENERATOR_AMQP_URL": self._through(self.generator_rabbitmq, "amqp"),
            "GENERATOR_REPLICATE_URL": f"http://{self.generator_replicate.address}",
            "GENERATOR_OUTPUT_HOSTS": self.generator_files.address,
            "GENERATOR_S3_ENDPOINT": f"http://{self.generator_s3.address}",
            "JOBS_DATABASE_URL": self._through(self.jobs_postgresql, "database"),
            "JOBS_AMQP_URL": self._through(self.jobs_rabbitmq, "amqp"),
            "SIMULATOR_FILES_LISTEN": f"127.0.0.1:{self._files_port}",
        }

    def heal(self) -> None:
        """All links are well again."""
        for link in self._all():
            link.heal()

    def close(self) -> None:
        """End every proxy."""
        for link in self._all():
            link.close()

    def _all(self) -> Iterator[Proxy]:
        return (link for link in vars(self).values() if isinstance(link, Proxy))

    def _to_part(self, setting: str, **where: Any) -> Proxy:
        def target() -> tuple[str, int]:
            assert self.stack is not None
            return "127.0.0.1", self.stack.port(setting)

        return Proxy(target, **where)

    def _to_server(self, name: str) -> Proxy:
        return link_to(self._urls[name])

    def _through(self, link: Proxy, name: str) -> str:
        return through(self._urls[name], link)


def through(url: str, link: Proxy) -> str:
    """The URL with the link's address in place of the server's."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{link.address}").geturl()


def link_to(url: str) -> Proxy:
    """A proxy before the server that the URL names."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    address = parts.hostname, parts.port
    return Proxy(lambda: address)
