"""Both Helms: installing at once or not at all, upgrades with a migration and the way back, and what `kubectl scale` set."""

from collections.abc import Callable

import pytest
import yaml

from chart.rendering import CHART, KUBERNETES, MAJORS, RELEASE
from chart.rendering import VALUES as CASES
from e2e.cluster import CommandFailed
from e2e.conftest import judge, off_the_loop, recording
from e2e.release import Release
from jobs.migrate import schema_of_code
from upgrade.load import Load

pytestmark = pytest.mark.timeout(1200)

RATE = 100

MIGRATION = """
from alembic import op

revision = "9000"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("ALTER TABLE jobs ADD COLUMN e2e text")
"""

MIGRATIONS = "/app/jobs/migrations/versions"


def newer_schema() -> dict[str, object]:
    """Values by which `jobs` is a version with one more migration, which comes from a ConfigMap."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{RELEASE}-migration"},
        "data": {"e2e.py": MIGRATION.format(newest=schema_of_code())},
    }
    return {
        "jobs": {
            "extraVolumes": [{"name": "migration", "configMap": {"name": f"{RELEASE}-migration"}}],
            "extraVolumeMounts": [{"name": "migration", "mountPath": f"{MIGRATIONS}/9000_e2e.py", "subPath": "e2e.py"}],
        },
        "extra": yaml.safe_dump(config_map),
    }


@pytest.mark.parametrize("major", MAJORS)
async def test_an_upgrade_with_a_migration_and_the_way_back_fail_no_request(
    new_release: Callable[[str, int], Release], major: int
) -> None:
    release = new_release(f"upgrade-{major}", major)
    await off_the_loop(release.install, release.atomic)
    async with recording(release) as recorder:
        await off_the_loop(release.scale, "generator", 3)
        load = Load(recorder, RATE)
        async with load.running():
            newer = newer_schema()
            release.namespace.kubectl("apply", "--filename=-", stdin=str(newer.pop("extra")))
            await off_the_loop(release.install, **newer)
            assert release.schema() == "9000"
            assert release.replicas("generator") == 3
            load.check_answers("it was upgraded")
            await off_the_loop(release.helm, "rollback", RELEASE, "--wait", "--timeout=8m")
            assert release.replicas("generator") == 3
            load.check_answers("it was rolled back")
        print(load.summary(), flush=True)
        load.check_answers()
        assert release.schema() == "9000"  # the older version tolerates it
        await judge(release, recorder)
    release.namespace.kubectl("delete", "configmap", f"{RELEASE}-migration")
    await off_the_loop(release.uninstall)
    assert not release.namespace.left()


@pytest.mark.parametrize("major", MAJORS)
async def test_an_installation_that_fails_leaves_nothing(new_release: Callable[[str, int], Release], major: int) -> None:
    release = new_release(f"atomic-{major}", major)
    broken = {"gateway": {"image": {"registry": "", "repository": "mediagen/none", "tag": "0", "pullPolicy": "Never"}}}
    with pytest.raises(CommandFailed):
        await off_the_loop(release.install, release.atomic, "--timeout=40s", **broken)
    left = await off_the_loop(release.namespace.left)
    assert not left, f"left: {left}"


@pytest.mark.parametrize("major", MAJORS)
def test_a_real_api_server_takes_all_that_is_rendered(new_release: Callable[[str, int], Release], major: int) -> None:
    """With strict validation, custom resources included where their definitions are installed."""
    release = new_release(f"render-{major}", major)
    known = (f"--kube-version={KUBERNETES}", "--api-versions=monitoring.coreos.com/v1")
    apply = ("apply", "--dry-run=server", "--validate=strict", "--filename=-")
    for case in CASES.values():
        rendered = release.helm("template", RELEASE, str(CHART), f"--values={case}", *known)
        # A pod is refused whose account is not there, and a dry run leaves none for what follows it.
        accounts = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] == "ServiceAccount"]
        release.namespace.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(accounts))
        release.namespace.kubectl(*apply, stdin=rendered)
