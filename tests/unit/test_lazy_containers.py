"""The containers' room is opened for containers only."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.workload_cases import wish

from skerry.kit.bell import Bell
from skerry.node.ports import InstanceExit, RunningInstance
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.wire.workload import Assignment, ContainerSpec

BOX = wish("box", runtime="container", process=None, container=ContainerSpec(image="cam:1"))

LOADED = """
import skerry.node.agent, sys
print([name for name in sys.modules if name.startswith("skerry.node.workloads.runtimes.containers")])
"""


class Room:
    """Stands for the room and its runtime."""

    def __init__(self) -> None:
        self.wanted: list[Assignment] = []
        self.calls: list[str] = []
        self.runtime = self

    def want(self, assignments: list[Assignment]) -> None:
        self.wanted = assignments

    def missing(self, assignment: Assignment) -> str:
        return f"image of {assignment.workload}"

    async def connect(self, _on_exit: Callable[[InstanceExit], None]) -> list[RunningInstance]:
        self.calls.append("connect")
        return []

    def watch(self, _on_exit: Callable[[InstanceExit], None]) -> None:
        self.calls.append("watch")


LIMITS = [
    "skerry.core.turns",
    "skerry.node.sync.turns",
    "skerry.node.sync.metering",
    "skerry.node.sync.on_request",
]


def test_an_agent_starts_without_what_only_limited_links_need() -> None:
    code = (
        f"import skerry.node.agent, sys; print([name for name in {LIMITS} if name in sys.modules])"
    )
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"[]\n"


def lazy(*, known: bool) -> tuple[LazyContainers, list[Room]]:
    rooms: list[Room] = []

    def open_room(_changed: Bell) -> Room:
        rooms.append(Room())
        return rooms[-1]

    return LazyContainers(open_room, known=known), rooms  # type: ignore[arg-type]  # a test's room


def heard(_exit: InstanceExit) -> None:
    pass


def test_an_agent_starts_without_what_only_containers_need() -> None:
    words = [sys.executable, "-c", LOADED]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"[]\n"


async def test_processes_open_no_room() -> None:
    containers, rooms = lazy(known=False)
    assert await containers.connect(heard) == []
    containers.want([wish("a")])
    assert containers.missing(wish("a")) == ""
    await containers.close()
    assert rooms == []


async def test_the_first_container_opens_it_and_its_engine_is_watched() -> None:
    containers, rooms = lazy(known=False)
    await containers.connect(heard)
    containers.want([wish("a"), BOX])
    containers.want([])
    assert [room.calls for room in rooms] == [["watch"]]
    assert rooms[0].wanted == []
    assert containers.missing(BOX) == "image of box"


@pytest.mark.guarantee("G8")
async def test_a_node_that_has_had_containers_looks_for_them() -> None:
    containers, rooms = lazy(known=True)
    await containers.connect(heard)
    assert [room.calls for room in rooms] == [["connect"]]
