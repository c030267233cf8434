"""Newer images for what the device starts on purpose: real engines and a real registry, which may be slow, silent or away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from tests.container_site import remove_image
from tests.engines import TestEngine, ask
from tests.registry import Registry, layer, registry

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock, SystemClock
from skerry.node.workloads.runtimes.containers import images as module
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.node.workloads.runtimes.containers.images import Images, PullNews, Voice
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment, ContainerSpec, Generation, LocalIntent, WorkloadSpec

pytestmark = pytest.mark.timeout(180)

NAME = "cyberwave-driver-a"


class Device:
    """What its images are, and what was said of them."""

    def __init__(self, engine: TestEngine, clock: Clock) -> None:
        self.engine = Engine([engine.socket])
        self.news: list[PullNews] = []
        voice = Voice(lambda _user, _line: None, self._announce, lambda _user, news: self.news.append(news))  # fmt: skip
        self.images = Images(self.engine, voice, self._nothing, Bell(), clock, random.Random(1))

    async def wants(self, *wishes: Assignment) -> None:
        """These start as soon as their images are here."""
        self.images.want(wishes)
        await eventually(lambda: not any(map(self.images.missing, wishes)), "it may start", 60)

    def pulls(self) -> int:
        return sum(one.stage == "started" for one in self.news)

    def kept(self) -> list[str]:
        return [one.text for one in self.news if one.stage == "kept"]

    async def _announce(self, event: str, stage: str, meta: Meta) -> None:
        pass

    async def _nothing(self, _image: str, _users: Sequence[Assignment]) -> None:
        return None


@contextlib.asynccontextmanager
async def device(engine: TestEngine, clock: Clock | None = None) -> AsyncIterator[Device]:
    found = Device(engine, clock or SystemClock())
    try:
        yield found
    finally:
        await found.images.close()
        await found.engine.close()


def wish(image: str, refreshes: int | None = 1, name: str = NAME) -> Assignment:
    spec = WorkloadSpec(name=name, runtime="container", container=ContainerSpec(image=image))
    return Assignment(name, Generation(0, 1), spec, local=LocalIntent(refreshes=refreshes))


@pytest.fixture
def source(engine: TestEngine) -> Iterator[Registry]:
    with registry() as found:
        yield found
        for name in ("acme/arm:1",):
            remove_image(engine, f"{found.address}/{name}")


def version(source: Registry, content: bytes) -> str:
    """The image, as it is at the registry from now on."""
    return source.add("acme/arm:1", [layer({"version": content})])


def identity(engine: TestEngine, image: str) -> bytes:
    status, body = ask(engine.socket, "GET", f"/v1.40/images/{image}/json")
    assert status == 200, body
    return body.partition(b'"Id":"')[2][:80]


async def test_a_start_on_purpose_takes_a_newer_one_and_nothing_else_does(
    engine: TestEngine, source: Registry
) -> None:
    image = version(source, b"1")
    async with device(engine, ManualClock()) as site:
        await site.wants(wish(image))
        first = identity(engine, image)
        version(source, b"2")
        asked = len(source.asked)
        await site.wants(wish(image))
        await site.wants(wish(image), wish(image, 0, "cyberwave-driver-b"))
        assert (len(source.asked), site.pulls()) == (asked, 1)
        await site.wants(wish(image, 2))
        second = identity(engine, image)
        assert second != first
    version(source, b"3")
    async with device(engine, ManualClock()) as site:  # another agent, and what it finds running
        asked = len(source.asked)
        await site.wants(wish(image, 0), wish(image, None, "other"))
        assert (len(source.asked), identity(engine, image)) == (asked, second)
        await site.wants(wish(image, 1))
        assert identity(engine, image) != second
        assert not site.images.remark(NAME)


async def test_where_the_registry_is_away_the_one_that_is_here_serves_with_a_warning(
    engine: TestEngine, source: Registry
) -> None:
    image = version(source, b"1")
    async with device(engine, ManualClock()) as site:
        await site.wants(wish(image))
        source.stop()
        await site.wants(wish(image, 2))
        assert len(site.kept()) == 1
        assert site.images.remark(NAME).startswith("its image may not be the newest: ")
        assert not site.images.problem(image)
        source.start()
        await site.wants(wish(image, 3))
        assert not site.images.remark(NAME)


async def test_a_registry_that_takes_calls_and_says_nothing_delays_a_start_by_three_seconds(
    engine: TestEngine, source: Registry
) -> None:
    image = version(source, b"1")
    async with device(engine) as site:
        await site.wants(wish(image))
        source.stop()
        with socket.create_server(("127.0.0.1", source.port)):
            before = asyncio.get_running_loop().time()
            await site.wants(wish(image, 2))
            waited = asyncio.get_running_loop().time() - before
        assert waited < 6
        assert site.kept() == ["the registry has said nothing for 3 s; it goes on"]


async def test_neither_does_one_that_is_silent_keep_people_waiting_for_a_word(
    docker_engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WORD", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = f"127.0.0.1:{silent.getsockname()[1]}/acme/arm:1"
        async with device(docker_engine) as site:
            site.images.want([wish(image)])
            await eventually(lambda: bool(site.images.problem(image)), "it says why")
            assert "the registry did not answer (1 try)" in site.images.problem(image)
            [told, *_] = [one.text for one in site.news if one.stage == "timed out"]
            assert told == "the registry has said nothing for 1 s"


async def test_one_that_falls_silent_in_between_does_not_hold_up_the_start_either(
    docker_engine: TestEngine,
) -> None:
    clock = ManualClock()
    with registry() as source:
        image = version(source, b"1")
        async with device(docker_engine, clock) as site:
            await site.wants(wish(image))
            first = identity(docker_engine, image)
            source.pause = 3600.0
            source.add("acme/arm:1", [layer({"version": b"2" * 300_000})])
            site.news.clear()
            site.images.want([wish(image, 2)])
            await eventually(lambda: any("Pulling" in one.text for one in site.news), "it pulls")
            assert site.images.missing(wish(image, 2))
            sleeping = clock.sleepers

            async def passes() -> bool:
                clock.advance(module.REFRESH_SILENCE)
                await asyncio.sleep(0.1)
                return not site.images.missing(wish(image, 2))

            assert sleeping
            await eventually(passes, "it may start")
            assert site.kept() == ["the registry has said nothing for 10 s; it goes on"]
            assert identity(docker_engine, image) == first
            source.stop()
            source.pause = 0.0
            source.start()
            await eventually(lambda: site.news[-1].stage == "done", "it comes after all", 60)
            assert identity(docker_engine, image) != first
            assert "was pulled after its start" in site.images.remark(NAME)
        remove_image(docker_engine, image)
