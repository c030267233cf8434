"""Too much output, and no room for it: the keeper stays small, quick and honest about what is missing."""

import fcntl
import os
import resource
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.node.ports import Launch
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually

ENOUGH = 4
"""Others that come and go while it prints."""


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir)
    yield device
    await device.end()


async def connected(device: ProcessDevice) -> tuple[ProcessRuntime, Exits]:
    runtime, exits = device.agent(), Exits()
    await runtime.connect(exits)
    return runtime, exits


async def flood(device: ProcessDevice, megabytes: int) -> None:
    """A workload prints without end while others come and go; then its log is small and its last line there."""
    runtime, exits = await connected(device)
    line = "x" * 99
    flood = f"yes {line} | head -c {megabytes}000000"
    script = f"{flood}; while [ ! -e enough ]; do {flood}; done; echo the end"
    loud = device.launch("sh", "-c", script, workload="loud")
    await runtime.start(loud)
    ends = 0
    while loud.instance not in exits.told:
        quiet = device.launch("sh", "-c", "echo quiet; exit 3", workload=f"quiet{ends}")
        await runtime.start(quiet)
        assert (await exits.of(quiet.instance)).code == 3
        assert device.printed(quiet.workload) == ["quiet"]
        ends += 1
        if ends == ENOUGH:
            (device.directory / "enough").touch()
    assert ends >= ENOUGH
    assert exits.told[loud.instance][0].code == 0
    assert device.printed("loud")[-1] == "the end"
    assert set(device.printed("loud")) == {line, "the end"}
    logs = list((device.directory / "logs" / "loud").glob("current.log*"))
    sizes = [log.stat().st_size for log in logs if log.is_file()]
    assert len(sizes) == 3
    assert max(sizes) <= 1_000_000


@pytest.mark.guarantee("G4")
async def test_a_flood_of_output_is_bounded_and_starves_nobody(device: ProcessDevice) -> None:
    await flood(device, 20)


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_200_mb_of_output_are_bounded_and_starve_nobody(device: ProcessDevice) -> None:
    runtime, _ = await connected(device)
    await runtime.close()
    before = memory(device.keeper_pid())
    await flood(device, 200)
    assert memory(device.keeper_pid()) < before + 4_000_000


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def unread(launch: Launch) -> int:
    """Bytes that wait in the FIFO of a workload's stdout."""
    fifo = os.open(f"{launch.log}.out.fifo", os.O_RDONLY | os.O_NONBLOCK)
    count = fcntl.ioctl(fifo, termios.FIONREAD, bytes(4))
    os.close(fifo)
    return int.from_bytes(count, sys.byteorder)


async def test_a_full_disk_drops_lines_counts_them_and_blocks_nobody(device: ProcessDevice) -> None:
    runtime, _ = await connected(device)
    keeper = device.keeper_pid()
    _, hard = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    # The kernel refuses to grow files beyond 20,000 bytes: short writes and errors as on a full disk.
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (20_000, hard))
    launch = device.launch("sh", "-c", "seq 10000; echo more; touch printed; sleep 1000")
    await runtime.start(launch)
    await eventually((device.directory / "printed").exists, "printing was not held up")
    await eventually(lambda: unread(launch) == 0, "the keeper has read everything")
    # It does one thing after the other: once it has answered, what it had read is written or dropped.
    await runtime.signal(launch.instance, "SIGCONT")
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (hard, hard))

    def printed() -> list[str]:
        return [text for text in device.printed() if "dropped" not in text]

    def dropped() -> int:
        notices = [text for text in device.printed() if "dropped" in text]
        return sum(int(notice.split()[1]) for notice in notices)

    await eventually(lambda: len(printed()) + dropped() == 10_001, "every line is there or counted")
    assert dropped() > 0
    numbers = [int(text) for text in printed() if text.isdecimal()]
    assert numbers == sorted(set(numbers))
