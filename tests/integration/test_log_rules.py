"""What holds for a log holds on the real way: from the spec through the keeper, also through its successor."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.keeper.log_rules import LogRules
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually

SECRET = "s3cr3t-of-the-test"
RULES = LogRules(100_000, 3, known=True, patterns=["pin-*"], secrets=[SECRET])
PRINTS = """
import os, sys
for line in os.fdopen(os.open(sys.argv[1], os.O_RDWR)):
    print(line.strip(), os.environ["TOKEN"], "pin-1234", "password=abc", flush=True)
"""


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[ProcessDevice]:
    device = ProcessDevice(short_dir, RULES)
    yield device
    await device.end()


@pytest.mark.guarantee("G10")
async def test_no_secret_reaches_the_disk_whoever_keeps_the_log(
    device: ProcessDevice, short_dir: Path
) -> None:
    agent = device.agent()
    await agent.connect(lambda _exit: None)
    fifo = short_dir / "lines"
    os.mkfifo(fifo)
    lines = os.open(fifo, os.O_RDWR)
    launch = device.launch("python3", "-c", PRINTS, str(fifo), variables={"TOKEN": SECRET})
    await agent.start(launch)
    os.write(lines, b"one\n")
    await eventually(lambda: device.printed() == ["one *** pin-*** password=***"], "it prints")
    device.kill_keeper()
    os.write(lines, b"two\n")
    await eventually(lambda: len(device.printed()) == 2, "another keeper goes on")
    assert device.printed()[1] == "two *** pin-*** password=***"
    await agent.close()
    successor = device.agent()
    await successor.connect(lambda _exit: None)
    device.kill_keeper()
    os.write(lines, b"three\n")
    await eventually(lambda: len(device.printed()) == 3, "the rules came from the keeper before")
    assert device.printed()[2] == "three *** pin-*** password=***"
    await successor.signal(launch.instance, "SIGKILL")
    os.close(lines)
