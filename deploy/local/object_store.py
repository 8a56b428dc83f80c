"""A private S3 server: `rclone serve s3` over a folder; its buckets are the folder's folders."""

from pathlib import Path

import probes
from part import Part

REGION = "us-east-1"


class ObjectStore(Part):
    """One S3 server with one pair of keys."""

    def __init__(self, state: Path, port: int, access_key: str, secret_key: str, rclone: Path) -> None:
        """`rclone` is the program; the objects lie in the instance's folder under `s3`."""
        self.folder = state / "s3"
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access_key = access_key
        self.secret_key = secret_key
        # Without an ETag: for that rclone reads a whole object again when it is only asked how long it is.
        serve = ["serve", "s3", "--etag-hash", "", "--addr", f"127.0.0.1:{port}", str(self.folder)]
        super().__init__(
            state,
            "s3",
            [str(rclone), *serve],
            # Keys as arguments would show in the list of processes.
            {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"', "RCLONE_CONFIG": "/dev/null"},
            lambda: probes.answers_http(port),
            address=self.endpoint,
            stop_seconds=5,
        )

    def prepare(self) -> None:
        """Create the folder of the buckets."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def make_bucket(self, name: str) -> None:
        """Create a bucket, unless it is there; to be called before the server starts, which caches what it lists."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)

    def settings(self, prefix: str, bucket: str) -> dict[str, str]:
        """The settings of a service that reads or writes this bucket, with the service's own prefix."""
        return {
            f"{prefix}_S3_ENDPOINT": self.endpoint,
            f"{prefix}_S3_ACCESS_KEY": self.access_key,
            f"{prefix}_S3_SECRET_KEY": self.secret_key,
            f"{prefix}_S3_BUCKET": bucket,
            f"{prefix}_S3_REGION": REGION,
        }
