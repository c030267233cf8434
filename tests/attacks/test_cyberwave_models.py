"""Models that a worker of Cyberwave's names, and what hosts give for them: refused, told at the hub, and the worker starts all the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.command_line import CommandLine
from tests.cyberwave_site import CyberwaveSite, cyberwave_site
from tests.native_workers import add_script, said, work_natively
from tests.weights_rig import files_of, lying, model_at

from skerry.testing.waiting import eventually

pytestmark = [pytest.mark.timeout(180), pytest.mark.guarantee("G9")]

NOWHERE = ["../../escaped", "/etc/escaped", "acme/escaped", "..", "..\\escaped", "escaped\x00x"]
SCRIPT = "".join(f"cw.models.load({name!r})\n" for name in [*NOWHERE, "wrong", "endless"])


async def failures(site: CyberwaveSite) -> list[Mapping[str, Any]]:
    """The alerts of models that the hub has."""
    return [one for one in await site.alerts() if one["alert_type"] == "model_download_failure"]


async def told(site: CyberwaveSite, status: str, *models: str) -> bool:
    """Whether the hub has these, one each."""
    found = [one["metadata"]["model_id"] for one in await failures(site) if one["status"] == status]
    return sorted(found) == sorted(models)


async def test_cases_38_to_40_hostile_models_are_refused_told_and_keep_no_worker_down(
    short_dir: Path,
) -> None:
    async with (
        lying("wrong") as (wrong, one),
        lying("endless") as (endless, two),
        cyberwave_site(short_dir) as site,
    ):
        work_natively(site, short_dir)
        shell = CommandLine(site.site)
        site.sign_in()
        [twin] = await site.join({})
        for name, port in (("wrong", one), ("endless", two)):
            applied = await shell.run("apply", "-f", str(shell.file(name, model_at(port, name))))
            assert applied.code == 0, applied.err
        add_script(site, text=SCRIPT)
        await eventually(lambda: said(site, "weights") == [""], "it runs without any", 60)
        named = (*NOWHERE, "wrong", "endless")
        await eventually(lambda: told(site, "active", *named), "the hub has the alerts", 60)
        for alert in await failures(site):
            assert alert["name"] == "Model download failed"
            assert (alert["severity"], alert["source_type"]) == ("error", "edge")
            assert (alert["category"], alert["twin_uuid"]) == ("technical", twin)
            assert "the workers run without it" in alert["description"]
        heads = [*wrong.heads, *endless.heads]
        assert heads
        assert not any(b"authorization" in head.lower() for head in heads)
        assert not any(b"cw_of_the_device" in head for head in heads)
        assert endless.sent < 32 << 20
        for place in (site.node.directory / "models", site.config / "models"):
            assert sum(files_of(place).values()) < 10_000
        assert not [path for path in files_of(short_dir) if "escaped" in str(path)]
        assert not Path("/etc/escaped").exists()
        add_script(site, text="print('x')\n")
        await eventually(lambda: told(site, "resolved", *named), "all of it is over", 60)
        await site.power_off()
