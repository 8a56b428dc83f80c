"""Which hosts outputs may be downloaded from: an allow-list that a model's output can neither widen nor lead around."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

MAX_REDIRECTS = 3


class ForbiddenAddress(Exception):
    """A URL that the allow-list does not cover, or whose name resolves to an address inside our own networks."""


class HostPattern(NamedTuple):
    """One entry of the allow-list."""

    host: str
    """A host name or address in lower case; `*.suffix` means every name below the suffix, and not the suffix itself."""
    port: int | None
    """None means https on port 443; a port allows http and https on it."""


def parse_host_patterns(value: object) -> object:
    """Reads `host`, `host:port` and `*.suffix` entries with commas between; raises ValueError with what to write instead."""
    if not isinstance(value, str):
        return value
    patterns = []
    for entry in (part.strip().lower() for part in value.split(",")):
        if not entry:
            continue
        host, separator, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
        host = host if separator else entry
        if (separator and not (port.isdigit() and 0 < int(port) < 65536)) or "/" in host or "*" in host.removeprefix("*."):
            raise ValueError(f"{entry!r} must be host, host:port or *.suffix")
        patterns.append(HostPattern(host.strip("[]"), int(port) if separator else None))
    if not patterns:
        raise ValueError("must name at least one host, such as replicate.delivery")
    return tuple(patterns)


class AllowedHosts:
    """The allow-list, asked once for each URL and again for each address that a name resolves to."""

    def __init__(self, patterns: Sequence[HostPattern]) -> None:
        """`patterns` come from the settings."""
        self._patterns = patterns

    def check(self, url: URL) -> None:
        """Raises ForbiddenAddress unless the URL may be fetched; called for every hop of a redirect."""
        try:
            host, port = (url.host or "").lower().rstrip("."), url.port
        except ValueError:  # yarl reads some parts only when they are asked for
            raise ForbiddenAddress("the output is behind a URL that is none") from None
        if url.user or url.password:
            raise ForbiddenAddress(f"{url.scheme}://{host} carries credentials")
        for pattern in self._patterns:
            if not _matches(pattern.host, host):
                continue
            if (url.scheme == "https" and port == (pattern.port or 443)) or (url.scheme == "http" and port == pattern.port):
                return
        raise ForbiddenAddress(f"{url.scheme}://{host}:{port} is not among the output hosts")

    def may_be_private(self, host: str, port: int) -> bool:
        """Whether the host is listed exactly: the operator chose it, wherever it lies."""
        return any(pattern.host == host.lower().rstrip(".") and (pattern.port or 443) == port for pattern in self._patterns)


def _matches(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1 if pattern.startswith("*.") else host == pattern


_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IN_DISGUISE = [
    ipaddress.ip_network(network)
    for network in (
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
        "192.0.0.0/24",  # of protocols
        "192.88.99.0/24",  # relays of 6to4
    )
]
"""What some versions of Python take for public. Everything IPv6 that is public is in 2000::/3."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet's, for one host; an IPv4 address inside an IPv6 one has to be so, too."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:  # how a network without IPv4 resolves every name: the gateway would lead on to the address inside
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found not in _UNICAST:
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _IN_DISGUISE)


class GuardedResolver(AbstractResolver):
    """Resolves names for the download session. The connection is made to the very addresses that were checked here."""

    def __init__(self, allowed: AllowedHosts, names: AbstractResolver) -> None:
        """`allowed` says which hosts may have private addresses; `names` knows the addresses."""
        self._allowed = allowed
        self._names = names

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of `host`; raises ForbiddenAddress where any of them is not a public one."""
        try:
            found = await self._names.resolve(host, port, family)
        except UnicodeError:  # an empty label, or one that is too long: no resolver is even asked
            raise ForbiddenAddress("the host of the output is not a name") from None
        if not self._allowed.may_be_private(host, port):
            for address in found:
                if not is_public(address["host"]):
                    raise ForbiddenAddress(f"{host} leads to an address that is not a public one")
        return found

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._names.close()
