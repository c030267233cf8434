"""Secrets from the hub to workloads on real nodes: delivered, rotated, and there after a reboot without a network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import Installation, installation, sleeper
from tests.secret_site import CANARY, log_of, message, put, seen, shows, started, words_of

from skerry.kit.errors import SkerryError
from skerry.testing.waiting import eventually
from skerry.wire.secret_views import SecretView
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def site(short_dir: Path) -> AsyncIterator[Installation]:
    async with installation(short_dir) as found:
        yield found


@pytest.mark.guarantee("G2")
async def test_a_node_that_reboots_without_a_network_has_its_secrets(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows())
    await eventually(lambda: bool(seen(node)), "it runs")
    await site.hub.kill()
    await node.kill()
    node.clean()
    (node.directory / "workloads" / "shows" / "seen").unlink()
    await node.start()
    await node.ready()
    await eventually(lambda: seen(node) == f"{len(CANARY)} 3", "it has its secret again")
    await site.hub.start()


async def test_a_new_value_restarts_its_users_and_no_others(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    stays = WorkloadSpec(
        name="stays",
        process=ProcessSpec(command=["python", "-c", PRINTS]),
        secrets=[SecretUse(name="db", restart=False)],
    )
    await site.hub.apply(shows(), sleeper("other"), stays)
    await eventually(lambda: node.runs("shows", "other", "stays"), "they run")
    await eventually(lambda: bool(seen(node)), "it has seen it")
    before = await node.pids()
    assert (await put(site.hub, "db", f"{CANARY}-new-9")).version == 2
    await eventually(lambda: seen(node).endswith(" 9"), "it has the new one")
    await eventually(lambda: node.runs("shows", "other", "stays"), "all run")
    after = await node.pids()
    assert after["shows"] != before["shows"]
    assert (after["other"], after["stays"]) == (before["other"], before["stays"])
    await eventually(lambda: "is another: ***\n" in log_of(node, "stays"), "another, and masked")


PRINTS = """
import os, pathlib, time
at = pathlib.Path(os.environ["SKERRY_SECRETS"], "db")
before = at.read_text()
while at.read_text() == before:
    time.sleep(0.01)
print("is another:", at.read_text(), flush=True)
time.sleep(3600)
"""


async def test_a_secret_is_for_the_nodes_that_may_have_it(site: Installation) -> None:
    node = await started(site, site="lab")
    await put(site.hub, "db", CANARY, Selector(labels={"site": "office"}))
    await site.hub.apply(shows())

    async def waits() -> bool:
        return "secret «db»: it is not for this node" in await message(node)

    await eventually(waits, "it is refused")
    other = await started(site, "n2", site="office")
    await eventually(lambda: bool(seen(other)), "a new node that may have it gets it")
    async with site.hub.api() as api:
        [view] = await api.get("/api/v1/secrets", list[SecretView])
        assert (view.name, view.nodes) == ("db", ["n2"])
        with pytest.raises(SkerryError, match="shows need it"):
            await api.order("DELETE", "/api/v1/secrets/db")


async def test_a_node_that_lost_its_key_is_sealed_its_secrets_anew(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows())
    await eventually(lambda: bool(seen(node)), "it runs")
    await node.kill()
    node.clean()
    (node.directory / "trust" / "secrets.key").unlink()
    (node.directory / "workloads" / "shows" / "seen").unlink()
    await node.start()
    await node.ready()
    await eventually(lambda: bool(seen(node)), "it has its secret again")


@pytest.mark.guarantee("G8")
async def test_an_agent_that_comes_back_has_the_secrets_and_takes_nothing_away(
    site: Installation,
) -> None:
    """Its files stay where they are, and a crash of the workload afterwards is no reason to ask the hub."""
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows())
    await eventually(lambda: bool(seen(node)), "it runs")
    pid = await node.pid("shows")
    environ = words_of(Path(f"/proc/{pid}/environ"))
    at = Path(environ.partition(b"SKERRY_SECRETS=")[2].partition(b"\0")[0].decode(), "db")
    await site.hub.kill()
    await node.kill()
    await node.start()
    await node.ready()
    await eventually(lambda: node.runs("shows"), "it runs on")
    assert (await node.pids())["shows"] == pid
    assert at.read_text() == CANARY
    (node.directory / "workloads" / "shows" / "seen").unlink()
    await site.hub.start()
    async with site.hub.api() as api:
        await api.order("POST", "/api/v1/workloads/shows/restart")
    await eventually(lambda: bool(seen(node)), "it was restarted with it")
    await eventually(lambda: not at.exists(), "what has ended leaves no file")


async def test_a_strict_workload_has_its_own_file_and_sees_no_others(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows("other"), shows("strict", isolation="strict"))
    await eventually(lambda: bool(seen(node, "strict")), "it runs")
    await eventually(lambda: "file 0o400 True ***\n" in log_of(node, "strict"), "it reads its own")
    pid = await node.pid("strict")
    inside = [path.name for path in Path(f"/proc/{pid}/root/dev/shm").glob("skerry-*/*")]
    assert inside == ["strict"]
