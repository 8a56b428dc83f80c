"""Ports of `make up`: settings with free defaults, remembered."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ports import LIMIT, PORTS, PortRefused, Ports, any_free_port, is_free, remembered


def nothing_runs(_: str) -> bool:
    return False


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        yield


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> int:
    """A default for GATEWAY_PORT that is free on this machine, whatever else runs on it."""
    port = any_free_port()
    monkeypatch.setitem(PORTS, "GATEWAY_PORT", ("gateway", port))
    monkeypatch.delenv("GATEWAY_PORT", raising=False)
    return port


def test_a_free_default_is_taken_and_remembered(tmp_path: Path, default: int) -> None:
    ports = Ports(tmp_path / "ports.json", nothing_runs)
    assert ports.get("GATEWAY_PORT") == ports.get("GATEWAY_PORT") == default
    assert remembered(tmp_path / "ports.json") == {"GATEWAY_PORT": default}


def test_a_default_that_a_stranger_has_gives_way_to_the_next_free_port_which_stays(tmp_path: Path, default: int) -> None:
    with taken(default):
        chosen = Ports(tmp_path / "ports.json", nothing_runs).get("GATEWAY_PORT")
    assert default < chosen < LIMIT
    assert Ports(tmp_path / "ports.json", nothing_runs).get("GATEWAY_PORT") == chosen


def test_a_running_part_keeps_its_port_although_it_is_not_free(tmp_path: Path, default: int) -> None:
    Ports(tmp_path / "ports.json", nothing_runs).get("GATEWAY_PORT")
    with taken(default):
        assert Ports(tmp_path / "ports.json", lambda part: part == "gateway").get("GATEWAY_PORT") == default


def test_a_port_that_was_asked_for_and_is_taken_is_refused_by_its_setting(
    tmp_path: Path, default: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", str(default))
    with taken(default), pytest.raises(PortRefused, match=f"GATEWAY_PORT={default}"):
        Ports(tmp_path / "ports.json", nothing_runs).get("GATEWAY_PORT")


@pytest.mark.parametrize("text", ["abc", "0", "65536", "-1", "80 "])
def test_what_is_no_port_is_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", text)
    with pytest.raises(PortRefused, match="no port"):
        Ports(tmp_path / "ports.json", nothing_runs).get("GATEWAY_PORT")


def test_one_port_asked_for_twice_is_refused(tmp_path: Path, default: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", str(default))
    monkeypatch.setenv("JOBS_PORT", str(default))
    ports = Ports(tmp_path / "ports.json", nothing_runs)
    ports.get("GATEWAY_PORT")
    with pytest.raises(PortRefused, match="JOBS_PORT"):
        ports.get("JOBS_PORT")


def test_each_generator_has_a_metrics_port_of_its_own(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json", nothing_runs)
    assert len({ports.get(f"GENERATOR_{number}_METRICS_PORT") for number in range(1, 5)}) == 4


def test_no_default_lies_where_the_kernel_takes_ports_for_outgoing_connections() -> None:
    assert all(port < LIMIT for _, port in PORTS.values())
    assert len({port for _, port in PORTS.values()}) == len(PORTS)


def test_a_port_is_free_again_when_its_server_is_gone() -> None:
    port = any_free_port()
    with taken(port):
        assert not is_free(port)
    assert is_free(port)
