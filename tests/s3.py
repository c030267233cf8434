"""An S3-compatible server on a loopback port, for the whole run; each test gets a bucket of its own."""

from __future__ import annotations

import itertools
import logging
import urllib.request
from collections.abc import Iterator

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from skerry.hub.store.s3_objects import Bucket

PREFIX = "fleet/blobs"

_numbers = itertools.count(1)


class S3Server:
    """moto's server; its keys are not checked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def bucket(self) -> Bucket:
        name = f"bucket{next(_numbers)}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        return Bucket(name, PREFIX, self.url, "us-east-1", "key", "secret")


class Contents:
    """Everything that lies in a bucket, by its path below `PREFIX`, as the server has it."""

    def __init__(self, bucket: Bucket) -> None:
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix,
            endpoint=bucket.endpoint,
            region=bucket.region,
            access_key_id=bucket.access_key,
            secret_access_key=bucket.secret_key,
            client_options={"allow_http": True},
        )

    def read(self) -> dict[str, bytes]:
        paths = [each["path"] for found in obstore.list(self._store) for each in found]
        return {path: bytes(obstore.get(self._store, path).bytes()) for path in paths}

    def write(self, path: str, data: bytes) -> None:
        obstore.put(self._store, path, data)

    def delete(self, path: str) -> None:
        obstore.delete(self._store, path)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield S3Server(server.get_host_and_port()[1])
    server.stop()
