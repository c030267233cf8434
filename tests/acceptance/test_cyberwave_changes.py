"""Twins that come, change and go while their drivers run as containers, and somebody else's containers beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.driver_site import Json, drivers
from tests.engines import TestEngine, ask

from skerry.node.twins.rows import ASSETS, twins_of
from skerry.testing.waiting import eventually

OF_ASSET = "33333333-1111-4111-8111-111111111111"
FOREIGN = "cyberwave-driver-33333333"


async def test_twins_come_change_and_go(short_dir: Path, docker_engine: TestEngine) -> None:
    async with drivers(short_dir, docker_engine) as rig:
        site = rig.site
        told = 'he said "hi" $HOME äö a=b'
        [arm] = await site.join(rig.twin("arm", "-e", f"CYBERWAVE_TOLD={told}", "-e", "DEBUG="))
        await rig.runs(arm)
        environment = rig.seen()["env"]
        assert (environment["CYBERWAVE_TOLD"], environment["DEBUG"]) == (told, "")
        name, rows = site.driver(arm), twins_of(site.environment)
        mine = rig.containers()[name]["Id"]

        other = f"{arm[:8]}-1111-4111-8111-111111111111"
        await site.put(rows, other, site.linked(rig.twin("other")))
        await eventually(lambda: len(_running(rig.containers())) == 2, "both run")
        await site.put(rows, other, site.linked(rig.twin("other")) | {"name": "renamed"})
        file = site.config / f"{other}.json"
        await eventually(lambda: json.loads(file.read_text())["name"] == "renamed", "renamed")
        assert len(rig.containers()) == 2  # nothing was started anew
        elsewhere = {"metadata": {"edge_fingerprint": "elsewhere"}}
        await site.put(rows, other, site.linked(rig.twin("other")) | elsewhere)
        await eventually(lambda: rig.containers().keys() == {name}, "its driver goes")
        await eventually(lambda: not file.exists(), "its file goes")
        assert rig.containers()[name]["Id"] == mine

        made = f"/v1.40/containers/create?name={FOREIGN}"
        body = json.dumps({"Image": rig.image, "Cmd": ["true"]}).encode()
        assert ask(docker_engine.socket, "POST", made, body)[0] == 201
        for value in ("1", "2"):
            entry = {"docker_image": rig.image, "params": ["-e", f"OF_ASSET={value}"]}
            asset = {"registry_id": "acme/arm", "metadata": {"drivers": {"default": entry}}}
            await site.put(ASSETS, site.asset, asset)
            await site.put(rows, OF_ASSET, site.linked({"name": "three"}))
            await eventually(
                lambda value=value: f"OF_ASSET={value}" in _variables(rig.containers()),
                "its asset's driver runs by the longer name",
            )
        assert FOREIGN in rig.containers()
        starting = [one for one in await site.alerts() if one["alert_type"] == "driver_starting"]
        active = [one["twin_uuid"] for one in starting if one["status"] == "active"]
        assert len(active) == len(set(active))


def _running(containers: Mapping[str, Json]) -> list[str]:
    return [name for name, one in containers.items() if one["State"]["Running"]]


def _variables(containers: Mapping[str, Json]) -> list[str]:
    found = containers.get(f"cyberwave-driver-{OF_ASSET}", {"Config": {"Env": []}})
    return list(found["Config"]["Env"])
