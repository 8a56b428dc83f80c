"""Hostile URLs against the real download path: none is fetched from where it should not be, and each has its typed error."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from abuse.hostile_urls import HOSTILE, Hostile, Network, network
from generator.hosts import AllowedHosts, parse_host_patterns
from generator.outputs import Linked, UnusableOutput, collect
from generator.transfer import SourceFailed, Transfers, download_session


class Untouched:
    """A bucket that nothing may reach."""

    async def put(self, key: str, *_: Any) -> None:
        raise AssertionError(f"{key} was stored")


class Downloads(NamedTuple):
    """A network, and the list of hosts that a generator on it has."""

    network: Network
    allowed: AllowedHosts

    async def fate(self, url: str) -> str:
        """What becomes of an output behind this URL, over a session of its own; raises what a job would crash with."""
        bucket: Any = Untouched()
        async with download_session(self.allowed) as session:
            try:
                await Transfers(session, self.allowed, bucket, 10_000, "r8_token").fetch(url, "key", 0)
            except (UnusableOutput, SourceFailed) as failure:
                return failure.code
        raise AssertionError("unreachable")


@pytest_asyncio.fixture
async def downloads(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Downloads]:
    async with network(monkeypatch) as made:
        patterns = parse_host_patterns(
            f"replicate.delivery,*.replicate.delivery,127.0.0.1:{made.listed},*.suffix.test:{made.listed}"
        )
        assert isinstance(patterns, tuple)
        yield Downloads(made, AllowedHosts(patterns))


FATES = {
    "forbidden": {"output_forbidden_address"},
    "unavailable": {"output_unavailable"},
    "either": {"output_forbidden_address", "output_unavailable"},
}


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len({hostile.url for hostile in HOSTILE}) == len(HOSTILE) >= 200


@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.fate != "rebinding"], ids=lambda one: ascii(one.url))
async def test_no_hostile_url_is_fetched(downloads: Downloads, hostile: Hostile) -> None:
    at = downloads.network
    url = at.url(hostile.url)
    [source] = collect(url)
    assert isinstance(source, Linked) != hostile.text, "what is no link is kept as text, and what is one is fetched or refused"
    if isinstance(source, Linked):
        assert await downloads.fate(source.url) in FATES[hostile.fate]
        assert (at.served, at.attempts, at.alarms, bool(at.looked_up)) == (0, [], [], hostile.resolves)

    at.forget()
    at.location = url.encode()
    fates = FATES[hostile.fate] | ({"output_unavailable"} if any(ord(character) < 32 for character in url) else set())
    assert await downloads.fate(f"http://127.0.0.1:{at.listed}/out.png") in fates
    assert at.served >= 1  # again and again where the location means the listed host itself
    assert (at.strangers(), at.alarms, bool(at.looked_up)) == ([], [], hostile.resolves)


@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.fate == "rebinding"], ids=lambda one: one.url)
async def test_a_name_that_changes_is_checked_again_whenever_it_is_looked_up(downloads: Downloads, hostile: Hostile) -> None:
    """The addresses that were checked are those that are connected to: there is no second look-up between the two."""
    at = downloads.network
    assert await downloads.fate(at.url(hostile.url)) == "output_unavailable"
    assert len(at.looked_up) == 1 and {address for address, _ in at.attempts} <= {
        "104.18.0.1",
        "104.18.0.2",
        "2606:4700::6812:1",
        "64:ff9b::6812:1",
    }
    at.attempts.clear()
    assert await downloads.fate(at.url(hostile.url)) == "output_forbidden_address"
    assert (at.attempts, at.alarms) == ([], [])


async def test_the_network_of_these_tests_would_notice_a_fetch(downloads: Downloads) -> None:
    """Without a list that refuses, canaries ring: a test that sees none rings none."""
    at = downloads.network
    open_to_all = AllowedHosts([*downloads.allowed._patterns, *_anywhere(at)])
    for url in (f"http://127.0.0.1:{at.canary}/", f"http://127.0.0.2:{at.listed}/", f"http://canary.test:{at.canary}/"):
        assert await Downloads(at, open_to_all).fate(url) == "output_unavailable"
    assert {alarm for alarm in at.alarms} == {
        str(("127.0.0.1", at.canary)),
        str(("127.0.0.2", at.listed)),
        str(("127.0.0.2", at.canary)),
    }
    at.alarms.clear()
    at.location = f"http://127.0.0.1:{at.canary}/".encode()
    assert await Downloads(at, open_to_all).fate(f"http://127.0.0.1:{at.listed}/") == "output_unavailable"
    assert at.alarms and at.strangers()


def _anywhere(at: Network) -> tuple[Any, ...]:
    patterns = parse_host_patterns(f"127.0.0.1:{at.canary},127.0.0.2:{at.listed},canary.test:{at.canary}")
    assert isinstance(patterns, tuple)
    return patterns


@pytest.mark.parametrize(
    "url",
    [
        f"https://{'a' * 64}.replicate.delivery/",
        f"https://{'a.' * 130}replicate.delivery/",
        f"https://{'a' * 5000}.replicate.delivery/",
        "https://a..replicate.delivery/",
        "https://-.replicate.delivery/",
        "https://_.replicate.delivery../",
        "https://a%00b.replicate.delivery/",
        "https://a\u0000b.replicate.delivery/",
        "https://a\u00adb..replicate.delivery/",
        "https://xn--a.replicate.delivery/",
        "https://xn--replcate-uoa.replicate.delivery/",
        "https://\ud800.replicate.delivery/",
        "https://\u2488com.replicate.delivery/",
        "https://[.replicate.delivery/",
    ],
    ids=lambda url: url[:40],
)
async def test_what_no_resolver_or_server_takes_is_a_typed_failure(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """With the machine's own resolver: what it says of a name that cannot be one is no crash of the job."""
    own = aiohttp.ThreadedResolver.resolve
    async with network(monkeypatch) as at:
        patterns = parse_host_patterns("*.replicate.delivery")
        assert isinstance(patterns, tuple)
        monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", own)
        assert await Downloads(at, AllowedHosts(patterns)).fate(url) in FATES["either"]
        assert (at.attempts, at.alarms) == ([], [])
