"""What a hub's backup says of itself: a forged one reaches nothing outside the data directory and the copies."""

import msgspec
import pytest

from skerry.hub.backups.copies import Copied
from skerry.hub.backups.making import Manifest
from skerry.hub.backups.snapshot import About

NAME = "0" * 62
GOOD = Copied(f"files/ab/{NAME}.sealed", 1, "a" * 64)


def listed(blob: Copied, copies: str = "hub.blobs") -> bytes:
    return msgspec.json.encode(Manifest(About("hub", "sqlite", 1, 1), 0, [blob], copies))


def test_places_of_blobs_are_taken() -> None:
    assert msgspec.json.decode(listed(GOOD), type=Manifest).blobs == [GOOD]


@pytest.mark.parametrize(
    "forged",
    [
        listed(msgspec.structs.replace(GOOD, place=f"files/ab/../../../{NAME}")),
        listed(msgspec.structs.replace(GOOD, place=f"/files/ab/{NAME}")),
        listed(msgspec.structs.replace(GOOD, place="hub.yaml")),
        listed(msgspec.structs.replace(GOOD, sha256="../../etc/shadow")),
        listed(GOOD, copies="../elsewhere/x.blobs"),
    ],
    ids=["up", "absolute", "another file", "copy elsewhere", "copies elsewhere"],
)
def test_other_places_are_not(forged: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(forged, type=Manifest)
