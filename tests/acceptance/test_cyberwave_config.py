"""The configuration directory of a device under a whole agent."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.cyberwave_site import cyberwave_site, native
from tests.driver_image import PROGRAM

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.mark.guarantee("G2", "G8")
async def test_files_that_cannot_be_read_at_a_start_end_no_driver(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        said = site.node.options.index(f"cyberwave.environment={site.environment}")
        del site.node.options[said - 1 : said + 1]
        site.sign_in()
        [arm] = await site.join(native("python", "-c", PROGRAM, LIVES=short_dir / "lives"))
        name = site.driver(arm)
        await site.tells(name, life=1)
        before = await site.node.pid(name)
        await site.node.process.end(signal.SIGKILL)
        files = [
            site.config / f"{each}.json" for each in ("credentials", "environment", "fingerprint")
        ]
        for file in files:
            file.write_bytes(file.read_bytes()[:9])
        await site.node.start()
        await eventually(
            lambda: all(site.node.log.read_text().count(f"{file} is no JSON") for file in files),
            "it is told of",
        )
        await eventually(lambda: site.node.runs(name), "it is supervised")
        assert await site.node.pid(name) == before
        await site.power_off()
        await site.boot_without_hub()
        await site.tells(name, life=2)
        await site.power_off()
