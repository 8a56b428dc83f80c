"""Which hosts outputs may come from."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from generator.hosts import AllowedHosts, ForbiddenAddress, GuardedResolver, HostPattern, parse_host_patterns


def allowed(text: str) -> AllowedHosts:
    patterns = parse_host_patterns(text)
    assert isinstance(patterns, tuple)
    return AllowedHosts(patterns)


HOSTS = "replicate.delivery, *.replicate.delivery, 127.0.0.1:8091, files.local:8443, [::1]:8091"


@pytest.mark.parametrize(
    "url",
    [
        "https://replicate.delivery/a/out.png",
        "https://REPLICATE.delivery./a",
        "https://pbxt.replicate.delivery/a",
        "https://a.b.replicate.delivery/a",
        "http://127.0.0.1:8091/files/a",
        "https://files.local:8443/a",
        "http://files.local:8443/a",
        "http://[::1]:8091/a",
    ],
)
def test_listed_hosts_are_allowed(url: str) -> None:
    allowed(HOSTS).check(URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://replicate.delivery/a",
        "https://replicate.delivery:8443/a",
        "https://evilreplicate.delivery/a",
        "https://replicate.delivery.evil.com/a",
        "https://.replicate.delivery/a",
        "https://evil.com/replicate.delivery",
        "https://user:pw@replicate.delivery/a",
        "https://replicate.delivery@evil.com/a",
        "http://127.0.0.1:8092/a",
        "http://127.0.0.1/a",
        "http://2130706433:8091/a",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:8091/a",
        "ftp://replicate.delivery/a",
        "file:///etc/passwd",
        "/relative",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        allowed(HOSTS).check(URL(url))


@pytest.mark.parametrize("text", ["", " , ", "https://a", "a:b", "a:0", "a:70000", "a.*.b", "*"])
def test_a_list_that_makes_no_sense_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_host_patterns(text)


def test_patterns_are_read_from_the_setting() -> None:
    assert parse_host_patterns("A.example, *.b:8080") == (HostPattern("a.example", None), HostPattern("*.b", 8080))


class Names(AbstractResolver):
    """Stands in for DNS."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self._address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "224.0.0.1", "192.88.99.1"),
        *("::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "3fff::1"),
        *("fe80::1%eth0", "fec0::1", "fd00::1", "ff02::1"),
    ],
)
async def test_a_name_below_a_listed_suffix_may_not_lead_into_our_networks(address: str) -> None:
    resolver = GuardedResolver(allowed(HOSTS), Names(address))
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("rebound.replicate.delivery", 443)


async def test_a_host_that_is_listed_exactly_may_be_private() -> None:
    resolver = GuardedResolver(allowed(HOSTS), Names("10.0.0.1"))
    assert await resolver.resolve("files.local", 8443)
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("files.local", 443)


@pytest.mark.parametrize("address", ["104.18.0.1", "2606:4700::6812:1", "64:ff9b::6812:1"])
async def test_public_addresses_are_resolved(address: str) -> None:
    resolver = GuardedResolver(allowed(HOSTS), Names(address))
    assert [found["host"] for found in await resolver.resolve("pbxt.replicate.delivery", 443)] == [address]
