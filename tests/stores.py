"""Other S3 servers than the one of `make demo`, for the same tests: `make test S3_PROGRAM=/usr/bin/minio`, or SeaweedFS's `weed`.

Nothing may rest on what one server alone does: how soon a list shows an object, what an unknown key is answered with, or which
headers a presigned PUT may carry.
"""

import os
from io import BytesIO
from pathlib import Path

from minio import Minio
from minio.error import MinioException
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

import ports
from object_store import REGION, ObjectStore
from services import ROOT

RCLONE = ROOT / ".venv" / "bin" / "rclone"


def object_store(state: Path, secret_key: str) -> ObjectStore:
    """The server that S3_PROGRAM names; without one, rclone."""
    port, access_key, program = ports.any_free_port(), "test", os.environ.get("S3_PROGRAM", "")
    store = ObjectStore(state, port, access_key, secret_key, RCLONE)
    if not program:
        return store
    if Path(program).name == "minio":
        store.command = [program, "server", "--address", f"127.0.0.1:{port}", str(store.folder)]
        store.environment = {"MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key, "MINIO_BROWSER": "off"}
    elif Path(program).name == "weed":
        store.command = _weed(program, store, port)
        store.environment = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    else:
        raise ValueError(f"S3_PROGRAM={program} is neither minio nor weed")
    store.is_ready = lambda: _keeps_an_object(store)
    return store


def client_of(store: ObjectStore, http_client: PoolManager | None = None) -> Minio:
    """A client with the store's own keys; `http_client` is for other timeouts than usual."""
    return Minio(
        endpoint=store.endpoint.removeprefix("http://"),
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=False,
        region=REGION,
        http_client=http_client,
    )


def _weed(program: str, store: ObjectStore, s3_port: int) -> list[str]:
    """All of SeaweedFS in one process: four servers, each with a port for HTTP and one for gRPC."""
    roles = [f"-{role}.{kind}={ports.any_free_port()}" for role in ("master", "volume", "filer") for kind in ("port", "port.grpc")]
    keep = [f"-dir={store.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64", "-volume.max=200"]
    s3 = ["-filer", "-s3", f"-s3.port={s3_port}", f"-s3.port.grpc={ports.any_free_port()}"]
    return [program, "server", *keep, *roles, *s3]


def _keeps_an_object(store: ObjectStore) -> bool:
    """Whether it writes yet: SeaweedFS answers before it has anywhere to write to."""
    client = client_of(store, http_client=PoolManager(timeout=Timeout(2), retries=Retry(0)))
    try:
        if not client.bucket_exists(bucket_name="ready"):
            client.make_bucket(bucket_name="ready")
        client.put_object(bucket_name="ready", object_name="yes", data=BytesIO(b"yes"), length=3)
    except (MinioException, HTTPError):
        return False
    return True
