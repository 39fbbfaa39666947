"""An S3-compatible object store for tests: moto's server, in a process of its own."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import s3fs

from tests.serving import a_free_port

BUCKET = "aidsafe"
SECRET = "zqmk-objects-6b1d"


@dataclass(frozen=True)
class ObjectStore:
    endpoint: str

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/lake"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a client finds the store."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def files(self) -> dict[str, bytes]:
        """The files in the bucket, by their path below the lake."""
        store = s3fs.S3FileSystem(
            endpoint_url=self.endpoint,
            key="tester",
            secret="tester",
            use_listings_cache=False,
        )
        paths = store.find(f"{BUCKET}/lake")
        return {
            path.removeprefix(f"{BUCKET}/lake/"): store.cat_file(path) for path in paths
        }


@contextmanager
def an_object_store(address: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """A running store with one bucket, for as long as the block lasts."""
    port = a_free_port(address)
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            store = ObjectStore(f"http://{address}:{port}")
            _make_bucket(store)
            yield store
        finally:
            process.terminate()


def _make_bucket(store: ObjectStore) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{store.endpoint}/{BUCKET}", method="PUT"),
                timeout=5,
            ):
                return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
