"""What the REST for containers finds in the node's other stores: models of the cache, joints of the records."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.memory import memory
from tests.model_cases import content, sha256
from tests.model_rig import assignment, by_url, model_rig
from tests.rest_rig import DRIVER, WORKER, rest_site
from tests.twin_bodies import ARM, CAMERA

from skerry.kit.clock import SystemClock
from skerry.node.contracts.cyberwave_api.recent import Recent
from skerry.node.data.query import RecordQuery
from skerry.node.store.record_jobs import Submission
from skerry.testing.file_server import FileServer, serve_files
from skerry.testing.manual_clock import ManualClock
from skerry.wire.files import FileRef
from skerry.wire.records import Kind, Publish, PublishedRecord, Record
from skerry.wire.sync import Lane

DATA = content(300_000)
JPEG = b"\xff\xd8\xff\xe0"


def captured(kind: Kind, record: Record) -> Submission:
    """As the gate's bridge stores it: no workload may publish such names."""
    lane: Lane = "event" if kind == "file" else "keep"
    return Submission(kind, "gate", None, 0, record.at, 0, "synced", [(lane, [record])])


async def test_case_39_another_host_sees_no_authorization_and_workers_have_weights_of_this_node(
    short_dir: Path,
) -> None:
    """And what the node itself fetches from elsewhere: `test_the_credentials_go_to_the_hub_alone`."""
    async with serve_files(FileServer({"/w": DATA})) as elsewhere, rest_site(short_dir) as site:
        async with model_rig(short_dir) as rig:
            await rig.fetched(assignment("a", by_url(elsewhere.url("/w"), DATA)))
        assert [each.headers.get("Authorization") for each in elsewhere.requests] == [None]
        async with site.serving():
            [found] = await site.list(
                "mlmodels?model_external_id=yolo&edge_compatible=true", WORKER
            )
            assert found["metadata"]["checksum_sha256"] == sha256(DATA)  # type: ignore[index]
            assert await site.list("ml-models?model_external_id=yolo", WORKER) == [found]
            for call in ("mlmodels/by-slug?slug=x/models/yolo", f"mlmodels/{found['uuid']}"):
                assert await site.ask("GET", call, token=WORKER) == found
            told = await site.ask("GET", f"mlmodels/{found['uuid']}/weights", token=WORKER)
            assert told["filename"] == "w.onnx"
            url = str(told["url"])
            assert url.startswith("http://node/files/")
            path = url.removeprefix("http://node")
            assert await site.raw("GET", path) == DATA
            assert (
                await site.raw("GET", path, headers={"Range": "bytes=0-9"}, status=206) == DATA[:10]
            )
            assert len(elsewhere.requests) == 1


@pytest.mark.guarantee("G9")
async def test_an_address_of_a_file_is_for_that_file_and_ends(short_dir: Path) -> None:
    clock = ManualClock()
    async with serve_files(FileServer({"/w": DATA})) as elsewhere, rest_site(short_dir) as site:
        async with model_rig(short_dir) as rig:
            await rig.fetched(assignment("a", by_url(elsewhere.url("/w"), DATA)))
        site.clock = clock
        async with site.serving():
            [found] = await site.list("mlmodels", WORKER)
            assert await site.list("mlmodels", DRIVER) == []
            await site.ask("GET", f"mlmodels/{found['uuid']}/weights", status=404)
            told = await site.ask("GET", f"mlmodels/{found['uuid']}/weights", token=WORKER)
            path = str(told["url"]).removeprefix("http://node")
            _, _, ends, sign, sha, name = path.split("/")
            for wrong in (
                f"/files/{int(ends) + 1}/{sign}/{sha}/{name}",
                f"/files/{ends}/{sign[:-1]}x/{sha}/{name}",
                f"/files/{ends}/{sign}/{sha}/other",
                f"/files/{ends}/{sign}/{'0' * 64}/{name}",
                f"/files/{ends}/{sign}/..%2f..%2fnode.db/{name}",
                f"/files/x/{sign}/{sha}/{name}",
                f"/files/{'9' * 30}/ä/{sha}/{name}",
            ):
                await site.raw("GET", wrong, status=404)
            await site.raw("GET", path)
            clock.advance(700)
            await site.raw("GET", path, status=404)


async def test_joints_are_those_that_the_driver_published_last(short_dir: Path) -> None:
    async with rest_site(short_dir) as site:
        clock = SystemClock()
        records = site.node.records
        site.seen = Recent(RecordQuery(records, "n"), site.node.files, clock)

        async def publish(name: str, value: float | str, **meta: str | float) -> None:
            record = Record(0, f"cyberwave/joint/{name}", clock.wall_ns(), value, dict(meta))
            await records.append(captured("measurement", record))

        await publish(f"{ARM}/j1", 0.25, velocity=1.5)
        await publish(f"{ARM}/j1", 0.5)
        await publish(f"{ARM}/shoulder_pan", 1.0, joint="shoulder pan")
        await publish(f"{ARM}/update", json.dumps({"positions": {"j2": 2}, "timestamp": 1.0}))
        await publish(f"{ARM}/update", "no JSON")
        await publish(f"{CAMERA}/j9", 9.0)
        async with site.serving():
            await site.ask("PUT", f"twins/{ARM}/joints/j1/state", {"position": 7})
            await site.ask("PUT", f"twins/{ARM}/joints/grip/state", {"position": 3})
            told = await site.ask("GET", f"twins/{ARM}/joint_states")
            joints = dict(zip(told["name"], told["position"], strict=True))  # type: ignore[call-overload]
            assert joints == {"grip": 3, "j1": 0.5, "j2": 2, "shoulder pan": 1.0}


async def test_a_device_without_models_has_none(short_dir: Path) -> None:
    async with rest_site(short_dir) as site, site.serving():
        assert await site.list("mlmodels", WORKER) == []
        await site.ask("GET", "mlmodels/yolo/weights", token=WORKER, status=404)


async def test_a_picture_is_the_last_one_that_the_driver_published(short_dir: Path) -> None:
    async with rest_site(short_dir) as site:
        clock, files, records = SystemClock(), site.node.files, site.node.records
        site.seen = Recent(RecordQuery(records, "n"), files, clock)

        async def publish(payload: bytes) -> None:
            digest = sha256(payload)
            await files.put(digest, len(payload), _pieces(payload))
            ref = str(FileRef(digest, len(payload)))
            name, now = f"cyberwave/twin/{ARM}/camera/photo", clock.wall_ns()
            request = Publish([PublishedRecord(name, ref)], "file")
            made = captured("file", Record(0, name, now, ref, {}))
            await files.published(request, lambda: records.append(made))

        def photo(data: bytes, **more: str) -> bytes:
            return json.dumps({"image": base64.b64encode(data).decode(), **more}).encode()

        call = f"/api/v1/twins/{ARM}/latest-frame"
        headers = {"Authorization": f"Bearer {DRIVER}"}
        async with site.serving():
            await site.raw("GET", call, headers=headers, status=404)
            await publish(photo(JPEG + b"1"))
            await publish(photo(JPEG + b"2", sensor_id="wrist"))
            bomb = b'{"image": [' + b"{}," * 2**20 + b"{}]}"
            odd = (
                b"no JSON",
                photo(b"no picture"),
                b'{"image": "!"}',
                b"[]",
                b'{"image": "\xc3\xa9"}',
            )
            for nothing in (*odd, b'{"image": null}', bomb):
                await publish(nothing)
            assert await site.raw("GET", call, headers=headers) == JPEG + b"2"
            assert await site.raw("GET", f"{call}?sensor_id=wrist", headers=headers) == JPEG + b"2"
            assert await site.raw("GET", f"{call}?sensor_id=base", headers=headers) == JPEG + b"1"
            with memory() as most:
                await asyncio.gather(*(site.raw("GET", call, headers=headers) for _ in range(10)))
            assert most() < 6 * len(bomb)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data
