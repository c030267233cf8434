"""The end of a node, as its data directory knows it: the mark that it must erase itself, and the certificate that it has.

    (node) ──order of its hub──► mark «ending» ─► mark «erasing» ─► certificate

The mark is durable before anything is done about it, so an agent that starts in between goes on where the one before it
was, and never begins to work again. `departure` writes it, `erasing` acts on it, `process` looks for it first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.own_hosts import is_own_host, own_hosts
from skerry.node.identity import Identity
from skerry.wire.codec import decode, encode
from skerry.wire.devices import ErasureReport, WipeOrder

MARK_FILE = "decommission.json"
CERTIFICATE_FILE = "decommissioned.json"

Ended = Literal["stopped", "restart", "retired"]
"""Why an agent ends: it was told to, to be followed by another one at once, or for ever."""


class Survey(msgspec.Struct, frozen=True):
    """What was there when erasing began. `keys` and `places` are paths, in the order in which they go."""

    keys: list[str]
    sealed: bool
    files: int
    bytes: int
    places: list[str]


class Mark(msgspec.Struct, frozen=True):
    """This node must erase itself. `left` is what is known to stay, for people.

    `hubs` take the certificate of erasure; they prove themselves by `roots` (PEM), without any as the rest of the world,
    or by the `authorities` of `hub.ca_file` (PEM), which may be about to go.
    """

    order: WipeOrder
    begun_at: int
    hubs: list[str]
    phase: Literal["ending", "erasing"] = "ending"
    survey: Survey | None = None
    left: list[str] = []
    roots: str = ""
    authorities: str = ""


class Certificate(msgspec.Struct, frozen=True):
    """All that is left of a node. `taken`: the hub has it."""

    report: ErasureReport
    hubs: list[str]
    name: str
    at: int
    files: int
    taken: bool = False
    roots: str = ""
    authorities: str = ""


def read_mark(data_dir: Path) -> Mark | None:
    """The mark, if this node must erase itself. Raises InvalidInput when it is damaged: then nothing else may begin."""
    path = data_dir / MARK_FILE
    return decode(path.read_bytes(), Mark, str(path)) if path.exists() else None


def write_mark(label: str, data_dir: Path, disk: Disk, mark: Mark) -> None:
    """Makes the mark durable. Raises OSError."""
    disk.write_atomic(label, data_dir / MARK_FILE, encode(mark))


def read_certificate(data_dir: Path) -> Certificate | None:
    """What is left of the node that was here. Raises InvalidInput when it is damaged."""
    path = data_dir / CERTIFICATE_FILE
    return decode(path.read_bytes(), Certificate, str(path)) if path.exists() else None


def write_certificate(data_dir: Path, disk: Disk, certificate: Certificate) -> None:
    """Makes the certificate durable. Raises OSError."""
    disk.write_atomic("erase.certificate", data_dir / CERTIFICATE_FILE, encode(certificate))


def is_over(data_dir: Path) -> bool:
    """Whether the node that was in this directory is out of service, and nothing but erasing and telling is left to do."""
    mark = read_mark(data_dir)
    if mark is not None:
        return mark.phase == "erasing"
    return read_certificate(data_dir) is not None


def why_not_obeyed(order: WipeOrder, identity: Identity, address: str) -> str:
    """Why an order to erase this node, from a hub at `address`, is not obeyed; empty: it is.

    The hub has to have proven who it is: by its certificate, or by being on this machine.
    """
    if order.node_id != identity.node_id:
        return f"it is for another device ({order.node_id})"
    if order.hub_id != identity.hub_id:
        return f"it is of another hub ({order.hub_id})"
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_own_host(parts.netloc, own_hosts()):
        return f"nothing proves that {address} is its hub: only https does, or a hub on the same machine"
    return ""


def refuse_to_begin(data_dir: Path) -> str:
    """Why nobody may be a node in this directory now, as a sentence; empty: nothing is against it."""
    mark = read_mark(data_dir)
    if mark is None:
        return ""
    return f"device «{mark.order.name}» in {data_dir} was decommissioned and has to erase itself first: skerry node run"


def last_words(data_dir: Path) -> str:
    """What is to be said about a device that is no more, as sentences; empty: there is none here."""
    if (mark := read_mark(data_dir)) is not None:
        return f"device «{mark.order.name}» was decommissioned; it is erasing itself ({mark.phase})"
    if (certificate := read_certificate(data_dir)) is None:
        return ""
    told = (
        "the hub has the certificate"
        if certificate.taken
        else "the hub does not have the certificate yet"
    )
    return (
        f"device «{certificate.name}» was decommissioned and has erased itself ({certificate.files} files); {told}. "
        "To use this machine again, enrol it as a new device: skerry node enroll"
    )
