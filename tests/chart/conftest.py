"""Helm for the tests of the chart, which `make test` and `make helm` provide: to build it takes minutes the first time."""

import pytest

import helm


@pytest.fixture(scope="session", autouse=True)
def helm_is_there() -> None:
    """Both versions."""
    missing = [str(helm.path_of(major)) for major in helm.VERSIONS if not helm.path_of(major).exists()]
    assert not missing, f"{', '.join(missing)}: make helm provides it"
