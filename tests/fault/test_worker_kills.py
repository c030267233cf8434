"""The agent dies around the decision to reload: the change is made once, whatever line it died at."""

from pathlib import Path

import pytest
from tests.installation import installation
from tests.worker_site import group, is_settled, said, say, workers

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.mark.guarantee("G8")
async def test_a_reload_survives_the_agents_death_and_happens_once(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    say(scripts, "0")
    printed = ["0"]
    async with installation(short_dir) as site:
        node = await site.started(group(scripts))
        await eventually(lambda: said(node) == printed, "it has begun")
        for label in (
            "worker.restart.before-commit",
            "worker.restart.after-commit",
            "workload.stopping.after-commit",
            "workload.starting.before-commit",
            "workload.starting.after-commit",
        ):
            await node.kill()
            printed.append(label)
            say(scripts, label)
            await node.start(fault=(label, 1))
            await eventually(lambda: not node.process.runs, f"it dies at {label}")
            await node.start()
            await node.ready()
            await eventually(lambda: said(node) == printed, f"{label}: {said(node)}")
            await eventually(lambda: is_settled(node), "nothing waits")
        found = await workers(node)
        assert [one.detail for one in found.restarts] == ["a.py"] * (len(printed) - 1)
