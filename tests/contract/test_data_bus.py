"""The Zenoh router of a node, by programs on Cyberwave's own SDK."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zenoh
from tests.bus_rig import BusRig, Program, until
from tests.cyberwave_bus import DataBus, hooks
from tests.cyberwave_sdk import Sdk
from tests.namespace import Namespace, namespace, run

from skerry.node.bus.shared_memory import sweep
from skerry.runners.zenoh.endings import NO_ZENOH, PORT_TAKEN
from skerry.wire.data_bus import BusOrder


@pytest.fixture
def bus(tmp_path: Path, cyberwave_sdk: Sdk) -> Iterator[BusRig]:
    with BusRig(tmp_path, cyberwave_sdk) as rig:
        yield rig


@pytest.mark.parametrize("mode", ["client", "peer"])
def test_programs_that_know_only_the_router_hear_each_other(bus: BusRig, mode: str) -> None:
    bus.start()
    worker, camera = bus.program(mode), bus.program(mode)
    worker.ask("follow", key=bus.key("frames/**"))
    key = bus.key("frames/default")
    until(lambda: camera.ask("subscribers", key=key), "the camera knows of the worker")
    for _ in range(5):
        [heard, *_], _ = sent_until_heard(camera, worker, key, 921_600)
        assert heard["key"] == key
    assert bus.end() == 0


def sent_until_heard(
    camera: Program, worker: Program, key: str, size: int
) -> tuple[list[dict[str, Any]], set[str]]:
    """What was heard, and the digests of what was sent: a bus under load may drop some, whoever routes it."""
    digests: set[str] = set()
    heard: list[dict[str, Any]] = []

    def is_heard() -> bool:
        digests.add(camera.ask("publish", key=key, size=size))
        heard.extend(worker.heard_within(5.0))
        return bool(heard)

    until(is_heard, "the sample has come")
    return heard, digests


def test_the_last_sample_is_there_when_its_publisher_is_gone(bus: BusRig) -> None:
    bus.start()
    driver, worker = bus.program(), bus.program()
    key = bus.key("joint_states")
    assert worker.ask("latest", key=key) is None
    driver.ask("put", key=key, data="01")
    driver.ask("put", key=key, data="02")
    until(lambda: worker.ask("latest", key=key) == "02", "the newest one is answered")
    driver.close()
    assert worker.ask("latest", key=key) == "02"
    assert worker.ask("latest", key=bus.key("**")) == "02"
    assert worker.ask("latest", key=bus.key("imu")) is None


def test_who_still_publishes_answers_for_itself(bus: BusRig) -> None:
    """An old router that heard of an older sample: a publisher that lives knows better, and ours is not asked."""
    bus.start()
    other, driver, worker = bus.program(), bus.program("peer"), bus.program("peer")
    key = bus.key("joint_states")
    driver.ask("put", key=key, data="aa")
    until(lambda: worker.ask("latest", key=key, timeout=1.0) == "aa", "the driver answers")
    # The router alone hears of this one: it is a publisher's without an answer of its own.
    other.ask("silent", key=key, data="bb")
    until(lambda: _says(bus, key, b"\xbb"), "the router has heard it")
    answers: list[str] = []

    def are_three() -> bool:
        found = worker.ask("latest", key=key, timeout=1.0)  # None: nobody was as quick as that
        answers.extend([found] if found else [])
        return len(answers) == 3

    until(are_three, "it is answered")
    assert answers == ["aa"] * 3


def _says(bus: BusRig, key: str, wanted: bytes) -> bool:
    """Whether anybody answers so, also who would not be asked otherwise."""
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("connect/endpoints", f'["tcp/127.0.0.1:{bus.port}"]')
    with zenoh.open(config) as session:
        every, none = zenoh.QueryTarget.ALL, zenoh.ConsolidationMode.NONE
        replies = session.get(key, target=every, consolidation=none, timeout=1.0)
        return any(reply.ok and reply.ok.payload.to_bytes() == wanted for reply in replies)


def test_without_zenoh_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['zenoh'] = None; sys.argv = ['', '', '1']; from skerry.runners.zenoh.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == NO_ZENOH
    assert "Debian package skerry-zenoh;" in done.stderr


def test_a_taken_port_is_named(bus: BusRig, tmp_path: Path, cyberwave_sdk: Sdk) -> None:
    bus.start()
    with BusRig(tmp_path, cyberwave_sdk) as second:
        second.log = tmp_path / "second.log"
        second.start(BusOrder(port=bus.port))
        assert second.router
        assert second.router.wait(timeout=30) == PORT_TAKEN
        assert f"127.0.0.1:{bus.port}" in second.log.read_text()


async def test_a_client_of_another_network_whose_address_comes_later_speaks_with_a_peer_of_this_one(
    bus: BusRig,
) -> None:
    """What the router knows, and what is recorded, is as old as the device: networks come and go with containers."""
    bus.start(BusOrder(port=bus.port, hosts=[Namespace().here]))
    here, gone = bus.program("peer"), bus.program("client")
    gone.ask("put", key=bus.key("c"), data="05")
    until(lambda: here.ask("latest", key=bus.key("c")) == "05", "the router has it")
    gone.close()
    async with namespace() as network:
        until(lambda: _listens(network, network.here, bus.port), "it listens at the new address")
        there = bus.program("client", network.here, network.prefix)
        with contextlib.closing(there):
            for one, other, key in ((here, there, bus.key("a")), (there, here, bus.key("b"))):
                other.ask("follow", key=key)
                until(lambda one=one, key=key: one.ask("subscribers", key=key), "it is known")  # type: ignore[misc]
                one.ask("put", key=key, data="07")
                assert other.hear()["key"] == key
                assert other.ask("latest", key=key) == "07"
            assert there.ask("latest", key=bus.key("c")) == "05"


async def test_nobody_comes_to_a_networks_address_but_from_that_network(bus: BusRig) -> None:
    """Linux answers at each address on every interface: a route to it is all that a neighbour of the device needs."""
    async with namespace() as network:
        other, link = network.here.replace("198.18.", "198.19."), f"skd{os.getpid()}"[:15]
        run("ip", "link", "add", link, "type", "bridge")
        try:
            run("ip", "address", "add", f"{other}/30", "dev", link)
            run("ip", "link", "set", link, "up")
            run(*network.prefix, "ip", "route", "add", other, "via", network.here)
            bus.start(BusOrder(port=bus.port, hosts=[network.here, other]))
            until(lambda: _listens(network, network.here, bus.port), "it listens for its own")
            until(lambda: _is_taken(other, bus.port), "and at the other one's address, too")
            assert not _listens(network, other, bus.port)
            with socket.create_server((other, 0)) as anybody:
                assert _listens(network, other, anybody.getsockname()[1])
        finally:
            run("ip", "link", "delete", link)


def _is_taken(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), reuse_port=False).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _listens(network: Namespace, host: str, port: int) -> bool:
    """For who comes from there."""
    script = f"import socket; socket.create_connection(('{host}', {port}), 5)"
    words = [*network.prefix, sys.executable, "-c", script]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_peers_go_on_without_the_router(bus: BusRig) -> None:
    bus.start()
    worker, camera = bus.program("peer"), bus.program("peer")
    worker.ask("follow", key=bus.key("frames/**"))
    until(lambda: camera.ask("peers")[0], "the peers are introduced")
    key = bus.key("frames/default")
    until(lambda: camera.ask("subscribers", key=key), "the camera knows of the worker")
    camera.ask("publish", key=key, size=1000)
    worker.hear()
    bus.end(signal.SIGKILL)
    until(lambda: not camera.ask("peers")[1], "the router is missed")
    for _ in range(5):
        camera.ask("publish", key=key, size=1000)
    assert len([worker.hear() for _ in range(5)]) == 5
    bus.start()
    late = bus.program("peer")
    late.ask("follow", key=bus.key("frames/**"))
    until(lambda: camera.ask("peers")[1], "the router is found again")

    def is_heard() -> list[object]:
        camera.ask("publish", key=key, size=1000)
        return late.heard_within(0.1)

    until(is_heard, "who comes later hears, too")


def test_large_samples_and_shared_memory(bus: BusRig) -> None:
    bus.start()
    share = {"ZENOH_SHARED_MEMORY": "true", "ZENOH_SHM_POOL_BYTES": str(96 << 20)}
    worker, camera = bus.program("peer", **share), bus.program("peer", **share)
    until(lambda: camera.ask("peers")[0], "the peers are introduced")
    key = bus.key("frames/default")
    worker.ask("listen", key=key)
    until(lambda: camera.ask("subscribers", key=key), "the camera knows of the worker")
    for size in (100, 65_536, 921_600, 33_000_000):
        digest = camera.ask("publish", key=key, size=size)
        heard = worker.hear()
        assert (heard["sha"], heard["size"]) == (digest, size)
        assert heard["shm"] == (size >= 4096)


@pytest.mark.parametrize("size", [65_536, 1_000_000, 33_000_000])
def test_large_samples_through_the_router(bus: BusRig, size: int) -> None:
    bus.start()
    worker, camera = bus.program(), bus.program()
    key = bus.key("pointcloud")
    worker.ask("listen", key=bus.key("**"))
    until(lambda: camera.ask("subscribers", key=key), "the camera knows of the worker")
    heard, digests = sent_until_heard(camera, worker, key, size)
    assert heard[0]["sha"] in digests
    camera.close()
    last = bytes.fromhex(worker.ask("latest", key=key))
    assert len(last) > size


def test_on_files_a_hook_without_a_sensor_gets_every_frame(
    tmp_path: Path, cyberwave_sdk: Sdk
) -> None:
    """Beside a node's data bus the unmodified SDK is given what it alone is not (`test_cyberwave_bus`)."""
    programs, both = DataBus(tmp_path, "filesystem"), ("wildcard", "pinned")
    (tmp_path / "data").mkdir()
    with BusRig(tmp_path, cyberwave_sdk) as bus, programs.workers() as log:
        bus.start(BusOrder(directories=str(tmp_path / "data")))
        programs.film(5, lambda n: min(len(hooks(log, each)) for each in both) >= n)
        assert [each["n"] for each in hooks(log, "wildcard")] == list(range(5))
        assert [each["n"] for each in hooks(log, "pinned")] == list(range(5))


def test_shared_memory_of_killed_programs_is_removed_and_no_other(bus: BusRig) -> None:
    bus.start()
    share = {"ZENOH_SHARED_MEMORY": "true"}
    worker, camera = bus.program(**share), bus.program(**share)
    mine, its = pools(worker), pools(camera)
    assert mine
    assert its - mine
    for path in mine | its:
        os.utime(path, (0, 0))
    camera.close()
    assert all(path.exists() for path in its)
    sweep(time.time())
    assert not any(path.exists() for path in its - mine)
    assert all(path.exists() for path in mine)


def pools(program: Program) -> set[Path]:
    maps = Path(f"/proc/{program.process.pid}/maps").read_text()
    return {Path(line.split()[-1]) for line in maps.splitlines() if line.endswith(".zenoh")}


def test_a_router_that_records_nothing_loads_little() -> None:
    script = "import sys, skerry.runners.zenoh.main, skerry.runners.zenoh.router; print({'msgspec', 'skerry.sdk', 'cryptography', 'typing', 'json'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
