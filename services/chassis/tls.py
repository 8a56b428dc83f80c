"""TLS between services: certificates from files, such as a mounted Secret's, and mutual where the server asks for it.

A server takes new files by itself: whoever renews certificates replaces them while it runs. A client reads its files once, as gRPC
has nothing for it; where clients show certificates they have to be started anew before those end.
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

import grpc
from pydantic import FilePath
from pydantic_settings import BaseSettings

from chassis.lifecycle import StartupError


class ServerTls(NamedTuple):
    """What a server shows, and whom it asks for the same."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None
    """The authority of the clients' certificates; without it they need none."""


class ClientTls(NamedTuple):
    """Whom a client believes, and what it shows."""

    ca_file: Path
    cert_file: Path | None
    key_file: Path | None


class JobsTlsSettings(BaseSettings):
    """How a service that calls jobs, at its `jobs_address`, speaks TLS with it."""

    jobs_ca_file: FilePath | None = None
    """The authority of jobs: with it TLS is spoken, and jobs has to show a certificate for the host in jobs_address."""

    jobs_cert_file: FilePath | None = None
    """The certificate to show to jobs, where it asks for one."""

    jobs_key_file: FilePath | None = None
    """Its private key."""

    @property
    def jobs_tls(self) -> ClientTls | None:
        """None where TLS is not spoken."""
        return ClientTls(self.jobs_ca_file, self.jobs_cert_file, self.jobs_key_file) if self.jobs_ca_file else None


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Credentials that follow the files. Raises StartupError where they cannot be read."""
    served = _read(tls)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """Asked before each handshake; None keeps what there is, also while files are half replaced."""
        nonlocal served
        with contextlib.suppress(StartupError):
            found = _read(tls)
            if found != served:
                served = found
                return _configuration(found)
        return None

    mutual = tls.client_ca_file is not None
    return grpc.dynamic_ssl_server_credentials(_configuration(served), changed, mutual)  # type: ignore[arg-type]  # the stubs forgot None


def client_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Credentials of a channel. Raises StartupError where a file cannot be read."""
    ca, cert, key = _read(tls)
    return grpc.ssl_channel_credentials(ca, key, cert)


def _configuration(files: list[bytes | None]) -> grpc.ServerCertificateConfiguration:
    cert, key, client_ca = files
    return grpc.ssl_server_certificate_configuration([(key or b"", cert or b"")], client_ca)


def _read(tls: ServerTls | ClientTls) -> list[bytes | None]:
    try:
        return [None if file is None else file.read_bytes() for file in tls]
    except OSError as error:
        raise StartupError(f"{error.filename}: {error.strerror}") from None
