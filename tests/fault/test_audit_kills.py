"""A hub that is killed between what a person began and its outcome: that it was begun is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.installation import Hub, sleeper

from skerry.core.audit_chain import GENESIS, follow
from skerry.kit.errors import SkerryError
from skerry.testing.waiting import eventually
from skerry.wire.audit import AuditEntry, AuditPage
from skerry.wire.people import WorkloadView


@contextlib.contextmanager
def database_of(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def hub(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[Hub]:
    with database_of(request) as url:
        found = Hub(short_dir, database=url)
        await found.start()
        yield found
        if found.process.runs:
            await found.kill()


async def begun(hub: Hub) -> list[AuditEntry]:
    """What has no outcome."""
    entries = await entered(hub)
    ended = {each.of for each in entries}
    return [each for each in entries if each.outcome == "begun" and each.seq not in ended]


async def entered(hub: Hub) -> list[AuditEntry]:
    async with hub.api() as api:
        page = await api.get("/api/v1/audit", AuditPage)
    assert follow(page.entries, GENESIS, page.head) is None
    return [row.entry for row in page.entries]


@pytest.mark.timeout(60)
@pytest.mark.guarantee("G9")
async def test_a_request_whose_body_never_comes_is_begun(hub: Hub) -> None:
    token = (hub.directory / "admin.token").read_text().strip()
    _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    head = f"PUT /api/v1/workloads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()

    async def is_begun() -> bool:
        return len(await begun(hub)) == 1

    await eventually(is_begun, "the request is begun")
    await hub.kill()
    writer.close()
    await hub.start()
    [entry] = await begun(hub)
    assert (entry.actor, entry.action, entry.status) == ("admin", "apply_workloads", 0)


@pytest.mark.timeout(60)
@pytest.mark.guarantee("G9")
async def test_whatever_was_changed_before_the_hub_was_killed_was_begun(hub: Hub) -> None:
    """Killed at any moment of a stream of changes: there is no change that nobody has begun."""
    for turn in range(3):
        applied: list[str] = []
        applying = asyncio.create_task(apply_many(hub, turn, applied))
        await eventually(lambda done=applied: len(done) >= 5, "some are applied")  # type: ignore[misc]
        await hub.kill()
        await applying
        await hub.start()
        async with hub.api() as api:
            there = {
                view.spec.name for view in await api.get("/api/v1/workloads", list[WorkloadView])
            }
        entries = [each for each in await entered(hub) if each.action == "apply_workloads"]
        began = [each for each in entries if each.outcome == "begun"]
        assert 5 * (turn + 1) <= len(there) <= len(began)


async def apply_many(hub: Hub, turn: int, applied: list[str]) -> None:
    with contextlib.suppress(SkerryError):
        for number in range(1000):
            await hub.apply(sleeper(f"w{turn}-{number}"))
            applied.append(f"w{turn}-{number}")
