"""The certificate that jobs shows, and what cert-manager would tell of it."""

import datetime
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import trustme
from cryptography import x509
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import ports

USUAL_DAYS = 90


class Certificate(Collector):
    """A certificate of jobs, issued by an authority that the other services believe, and exported as cert-manager exports its own.

    There is no cert-manager here: who scrapes this gets the one series that the rules ask of it, read from what jobs shows to
    whoever connects.
    """

    def __init__(self, folder: Path, host: str) -> None:
        """Issues the first one, for the host that jobs is called by. Nothing is exported before `export`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self._address = (host, 0)
        self._ca_file, self._file = folder / "ca.crt", folder / "tls.pem"
        self._authority.cert_pem.write_to_path(self._ca_file)
        self._server: tuple[http.server.HTTPServer, threading.Thread] | None = None
        self.issue(USUAL_DAYS)

    def issue(self, days: float) -> None:
        """Puts another one, which ends in so many days, into the place of the last; jobs shows it from the next connection on."""
        issued = self._authority.issue_cert(
            self._address[0],
            not_before=datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=USUAL_DAYS),
            not_after=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days),
        )
        fresh = self._file.with_suffix(".new")
        issued.private_key_and_cert_chain_pem.write_to_path(fresh)
        fresh.replace(self._file)  # key and certificate in one file: nobody sees one without the other

    def settings(self) -> Mapping[str, str]:
        """TLS between jobs and those who call it."""
        return {
            "JOBS_TLS_CERT_FILE": str(self._file),
            "JOBS_TLS_KEY_FILE": str(self._file),
            "GATEWAY_JOBS_CA_FILE": str(self._ca_file),
            "GENERATOR_JOBS_CA_FILE": str(self._ca_file),
        }

    def export(self, jobs_port: int) -> str:
        """Exports the series until `close`, at the address that is returned; jobs listens at the port."""
        self._address = (self._address[0], jobs_port)
        port, registry = ports.any_free_port(), CollectorRegistry()
        registry.register(self)
        self._server = start_http_server(port, "127.0.0.1", registry)
        return f"127.0.0.1:{port}"

    def close(self) -> None:
        """Exports no longer."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: to register this one must not connect to jobs."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What cert-manager tells of a certificate `jobs` in the namespace of the system."""
        family = GaugeMetricFamily(
            "certmanager_certificate_expiration_timestamp_seconds",
            "The timestamp after which the certificate expires, expressed in Unix Epoch Time.",
            labels=["name", "namespace"],
        )
        family.add_metric(["jobs", "media"], self._shown().not_valid_after_utc.timestamp())
        yield family

    def _shown(self) -> x509.Certificate:
        context = ssl.create_default_context(cafile=str(self._ca_file))
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(self._address, timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=self._address[0]) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown)
