"""An image with Cyberwave's SDK: this machine's Python (`engines.image_archive`), the SDK's environment, and the fixtures' programs.

It starts what an image of the SDK's users starts: the driver, or `python -m cyberwave.workers.main` for a worker.
"""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.engines import PYTHON_CHANGES, TestEngine, ask, image_archive, import_image, libraries

SDK_IMAGE = "localhost/skerry-test-cyberwave:latest"
_LEFT_OUT = {"tests", "pip", "setuptools"}
_CHANGES = ("ENV HOME=/root", 'CMD ["python3", "/fixtures/image.py"]')


@pytest.fixture(scope="session")
def sdk_archive(cyberwave_sdk: Sdk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image's root file system: made once, and imported once by each engine."""
    path = tmp_path_factory.mktemp("sdk") / "image.tar"
    _write(path, cyberwave_sdk)
    yield path
    path.unlink()


@pytest.fixture
def sdk_engine(engine: TestEngine, sdk_archive: Path) -> TestEngine:
    """An engine, Docker or Podman, that has SDK_IMAGE."""
    with_sdk(engine, sdk_archive)
    return engine


def with_sdk(engine: TestEngine, archive: Path) -> None:
    """Imports the image unless it is there."""
    known = ask(engine.socket, "GET", "/v1.40/images/json")[1]
    if SDK_IMAGE in json.dumps(json.loads(known)):
        return
    changes = "".join(f"&changes={quote(change)}" for change in _CHANGES)
    with archive.open("rb") as file:
        import_image(engine.socket, SDK_IMAGE, file, PYTHON_CHANGES + changes)


def _write(path: Path, sdk: Sdk) -> None:
    path.write_bytes(image_archive())
    library = f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    needed: set[Path] = set()
    with tarfile.open(path, "a") as image:
        there = set(image.getnames())
        for file in _files(sdk.packages):
            within = file.relative_to(sdk.packages)
            image.add(file, f"{library}/site-packages/{within}", recursive=False)
            if ".so" in file.suffixes:
                needed |= libraries(file)
        for file in sorted(needed):
            name = f"usr/lib/host/{file.name}"
            if name not in there and not file.name.startswith("ld-linux"):
                there.add(name)
                image.add(file.resolve(), name)
        image.add(FIXTURES, "fixtures")


def _files(packages: Path) -> list[Path]:
    return [
        path
        for path in packages.rglob("*")
        if path.is_file() and not _LEFT_OUT & set(path.relative_to(packages).parts)
    ]
