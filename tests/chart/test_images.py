"""services/Dockerfile, as far as it can be judged without Docker: what it may not use, and what the builder is sent."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from services import ROOT, SERVICES

DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text()


def test_the_classic_builder_builds_it():
    instructions = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    assert not [line for line in instructions if "--mount" in line or "<<" in line or "--chmod" in line or "--link" in line]
    assert not DOCKERFILE.startswith("# syntax")


def test_it_runs_as_nobody_in_particular_under_an_init_and_tells_its_health():
    assert re.search(r"^USER \d+:0$", DOCKERFILE, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["dumb-init"', DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*chassis\.healthcheck", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("ARG BASE_IMAGE=") == 1 and len(re.findall(r"^FROM \$\{BASE_IMAGE\}", DOCKERFILE, re.MULTILINE)) == 3


@pytest.mark.parametrize("service", SERVICES)
def test_its_packages_are_locked_with_hashes_the_init_among_them(service):
    locked = (ROOT / "requirements" / f"{service}.txt").read_text()
    packages = re.findall(r"^([a-z0-9-]+)==", locked, re.MULTILINE)
    assert "dumb-init" in packages and len(packages) > 10
    for block in re.split(r"\n(?=[a-z])", locked):
        assert block.startswith("#") or "--hash=sha256:" in block


def test_the_builder_is_sent_the_services_the_contracts_and_the_requirements_and_nothing_else():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored and kept == {"services", "protos/gen", "requirements"}


def test_make_images_builds_one_for_each_service():
    asked = subprocess.run(["make", "-n", "images", "IMAGE_TAG=1.2.3"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.search(r"for service in ([\w ]+);", asked.stdout)
    assert listed and set(listed[1].split()) == set(SERVICES)
    assert "mediagen/$service:1.2.3" in asked.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_whatever_a_service_imports_is_among_the_packages_of_its_image(service):
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{service}.txt").read_text(), re.MULTILINE))
    distributions = packages_distributions()
    waiting, seen = set((ROOT / "services" / service).rglob("*.py")), set[Path]()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        for name in imported(module):
            top = name.partition(".")[0]
            if top == "chassis":
                waiting |= {ROOT / "services" / f"{name.replace('.', '/')}.py"} & set(CHASSIS) - seen
            elif top not in {service, "mediagen", *sys.stdlib_module_names}:
                providers = {found.lower().replace("_", "-").replace(".", "-") for found in distributions[top]}
                assert providers & locked, f"{module.relative_to(ROOT)} imports {name}, which the image of {service} lacks"
    assert len(seen) > 5


CHASSIS = list((ROOT / "services" / "chassis").glob("*.py"))


def imported(module: Path) -> set[str]:
    """The modules that a module imports; of `from chassis import rabbit`, chassis.rabbit."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "chassis" else {node.module}
    return names
