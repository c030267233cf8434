"""An agent that is killed at each step of storing what drivers publish: the next one loses nothing of it and doubles nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.bridge_rig import agent
from tests.gate_rig import OWN, Device, GateRig, until

from skerry.wire.files import read_reference

pytestmark = [pytest.mark.guarantee("G1"), pytest.mark.timeout(240)]
TWIN = f"cyberwave/twin/{OWN}"
LABELS = (
    "segment.roll",
    "segment.append",
    "segment.sync",
    "publish.synced",
    "file.keep",
    "file.kept",
    "file.directory",
)


class Site:
    """A gate and a directory; what is published is remembered."""

    def __init__(self, rig: GateRig, directory: Path) -> None:
        self.rig = rig
        self.directory = directory
        directory.mkdir()
        self.events: list[str] = []
        self.files: list[bytes] = []

    def say(self, device: Device) -> int:
        """A mixture; returns the journal's newest number."""
        for n in range(40):
            self.events.append(f"event {len(self.events)} {'x' * 3000}")
            device.publish(f"{TWIN}/event", self.events[-1])
            if n % 13 == 0:
                self.files.append(b"%d " % len(self.files) + bytes(70_000))
                device.publish(f"{TWIN}/depth", self.files[-1], 1)
        last = self.events[-1].encode()
        until(lambda: any(entry.payload == last for entry in self.rig.entries()), "it is captured")
        return self.rig.entries()[-1].n

    def run(self, label: str, nth: int, last: int) -> bool:
        """Runs an agent until it has stored message `last`; False: it has killed itself before."""
        words = [self.rig.run, self.rig.journal, self.directory, label, nth]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bridge_agent", *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if int(line) >= last:
                    process.kill()
                    return True
            assert process.wait() == -signal.SIGKILL
            return False


async def test_wherever_the_agent_is_killed_each_message_is_there_once(
    short_dir: Path, memory_dir: Path
) -> None:
    with GateRig(short_dir, memory_dir) as rig:
        token = rig.token()
        rig.start()
        device = rig.device(token).connect()
        site = Site(rig, short_dir / "node")
        killed = []
        for label in LABELS:
            for nth in (1, 2, 4):
                last = await asyncio.to_thread(site.say, device)
                killed.append(not await asyncio.to_thread(site.run, label, nth, last))
        assert sum(killed) > len(killed) * 2 // 3
        last = await asyncio.to_thread(site.say, device)
        assert await asyncio.to_thread(site.run, "-", 0, last)
        async with agent(rig, short_dir / "node") as one:
            # What waits for an acknowledgement is sent by the client when others have theirs.
            await one.until(lambda: len(one.all("file")) >= len(site.files))
            await one.until(lambda: len(one.all("event")) >= len(site.events))
            assert Counter(one.values(f"{TWIN}/event")) == Counter(site.events)
            files = [one.node.bytes_of(read_reference(each.value)) for each in one.all("file")]
            assert Counter(files) == Counter(site.files)
