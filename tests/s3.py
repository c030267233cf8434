"""An S3-compatible server on a loopback port, for the whole run; each test gets a bucket of its own."""

from __future__ import annotations

import itertools
import logging
import urllib.request
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from skerry.hub.store.s3_blobs import Bucket

_numbers = itertools.count(1)


class S3Server:
    """moto's server; its keys are not checked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def bucket(self) -> Bucket:
        name = f"bucket{next(_numbers)}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        return Bucket(name, "fleet/blobs", self.url, "us-east-1", "key", "secret")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield S3Server(server.get_host_and_port()[1])
    server.stop()
