"""An agent that is killed again and again while it writes a twin's file: no edit is lost, and none is made up."""

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from tests import twin_agent
from tests.shared_node import SharedNode
from tests.twin_bodies import ARM, ENTITY, arm

from skerry.kit.clock import SystemClock
from skerry.node.twins.rows import TWINS

ROUNDS = 10


async def run_and_kill(data: Path, config: Path, chance: random.Random) -> int:
    """Returns the last number that was told to be durable."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.twin_agent", str(data), str(config),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    last = 0
    for _ in range(chance.randrange(1, 30)):
        line = (await process.stdout.readline()).decode()
        assert line.strip().isdigit(), line
        last = int(line)
    await asyncio.sleep(chance.random() * 0.01)
    process.kill()
    rest = (await process.stdout.read()).decode().split()
    await process.wait()
    return max([last, *(int(each) for each in rest)])


def drive(config: Path, key: str) -> bool:
    """The driver adds a key to its twin; not when it finds a half-written file."""
    path = config / f"{ARM}.json"
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        return False
    found["metadata"][key] = key
    path.write_text(json.dumps(found))
    return True


async def test_no_edit_is_lost_or_made_up_by_kills(tmp_path: Path) -> None:
    chance = random.Random(os.getpid())
    config = tmp_path / "config"
    config.mkdir()
    node = SharedNode(tmp_path, SystemClock())
    await node.rows.declare(ENTITY, TWINS)
    await node.program.put(ENTITY, ARM, json.dumps(arm(description="0")).encode())
    node.close()
    told, keys = 0, []
    for number in range(ROUNDS):
        last = await run_and_kill(tmp_path, config, chance)
        assert (
            last > told
        )  # a refresh that was taken for a driver's edit would bring back a former one
        told = last
        key = f"key-{number}"
        if drive(config, key):
            keys.append(key)
    node = SharedNode(tmp_path, SystemClock())
    twins, files = twin_agent.parts(node, config)
    await twins.open()
    await files.look()
    [twin] = twins.linked()
    metadata = twin.body["metadata"]
    assert isinstance(metadata, dict)
    assert sorted(key for key in metadata if key.startswith("key-")) == keys
    assert keys
    assert int(str(twin.body["description"])) >= told
    shown = json.loads((config / f"{ARM}.json").read_bytes())
    assert shown["metadata"] == metadata
    assert shown["description"] == twin.body["description"]
    node.close()
