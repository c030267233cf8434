"""Files and the records that name them, as a hub without HTTP gets them."""

from __future__ import annotations

from tests.hub_rig import HubRig, Lanes, batch
from tests.model_cases import sha256

from skerry.node.files.chunks import manifest_of
from skerry.wire.files import FileManifest, FileRef


def manifest(data: bytes) -> FileManifest:
    return manifest_of(sha256(data), len(data), lambda start, size: data[start : start + size])


async def record(hub: HubRig, node_id: str, *files: bytes, counter: int = 1) -> None:
    values = [str(FileRef(sha256(data), len(data))) for data in files]
    frame = batch(*values, name="cam/a.bin", kind="file", counter=counter, lens="wide")
    lanes = Lanes(f"{counter:032x}")
    assert (await hub.push(node_id, lanes.unit("event", [frame]))).outcome == "ok"


async def node_with(hub: HubRig, *files: bytes, name: str = "n1") -> str:
    """A node whose records of these files have arrived."""
    node = await hub.enrol(name)
    await record(hub, node.node_id, *files)
    return node.node_id
