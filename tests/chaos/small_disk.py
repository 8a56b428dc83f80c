"""A PostgreSQL that keeps its databases on a disk of its own, small enough to be full.

The disk is a tmpfs in a mount namespace of the server's own: root may mount it, and so may everybody in a user namespace. Where
the kernel allows neither (a container without CAP_SYS_ADMIN, a distribution that restricts user namespaces), a trigger raises
what PostgreSQL would raise.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import ports
from part import PartFailed
from postgresql import PostgreSQL

SIZE = "48m"

_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
_OWNER = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid()
_MOUNT = f'mount -t tmpfs -o size={SIZE},mode=0700,uid={_OWNER} none "$0" && exec "$@"'

_RAISE = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END$$;
CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION disk_full();
CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON job_events FOR EACH STATEMENT EXECUTE FUNCTION disk_full();
"""


class SmallDisk(PostgreSQL):
    """The server; `fill` leaves no room on its disk, `free` makes room again."""

    def __init__(self, state: Path, password: str) -> None:
        """The disk is there while the server runs."""
        super().__init__(state, ports.any_free_port(), password, durable=False)
        self.disk = self.data.with_name(f"{self.data.name}-disk")
        self.mounted = _may_mount()
        """Whether the disk is a real one."""
        if self.mounted:
            self.command = [*_UNSHARE, "sh", "-c", _MOUNT, str(self.disk), *self.command]

    def prepare(self) -> None:
        """Create the data folder, and the place of the disk."""
        super().prepare()
        self.disk.mkdir(exist_ok=True)

    def create_small_database(self, name: str) -> str:
        """Create a database on the disk, and return its URL."""
        where = ""
        if self.mounted:
            self.execute(f"CREATE TABLESPACE small LOCATION '{self.disk}'")
            where = "TABLESPACE small"
        self.execute(f'CREATE DATABASE "{name}" {where}')
        return self.url(name)

    def fill(self, database: str) -> None:
        """Leave no room."""
        if not self.mounted:
            self.execute(_RAISE, database)
            return
        self.execute("CREATE TABLE filler (content text)", database)
        self.execute("ALTER TABLE filler ALTER content SET STORAGE PLAIN", database)
        for rows in (500, 50, 1):  # down to the last page
            while self._takes(database, rows):
                pass

    def free(self, database: str) -> None:
        """Make room."""
        self.execute("DROP TABLE filler" if self.mounted else "DROP FUNCTION disk_full CASCADE", database)

    def remove_data(self) -> None:
        """Delete everything; the server must not run."""
        super().remove_data()
        shutil.rmtree(self.disk, ignore_errors=True)

    def _takes(self, database: str, rows: int) -> bool:
        try:
            self.execute(f"INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, {rows})", database)
        except PartFailed as error:
            if "No space left on device" not in str(error):
                raise
            return False
        return True


def _may_mount() -> bool:
    """Whether this machine lets us have a disk of our own."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([*_UNSHARE, "sh", "-c", _MOUNT, folder, "true"], check=False, capture_output=True).returncode == 0
