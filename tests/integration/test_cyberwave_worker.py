"""When a device wants its workers, and as what: a real directory, and an engine that says what the test says."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.wanted_workers import ENVIRONMENT, NAME, OTHER, PLAIN, TWIN, Site

from skerry.node.drivers import worker
from skerry.node.drivers.limits import DriverLimits
from skerry.node.ports import ContainerLaunch
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_it_is_told_when_the_workers_may_start(site: Site) -> None:
    site.waits = "waits until drivers are started: arm"
    site.script()
    await site.workloads.look()
    assert [one.local.waits for one in site.workloads.wanted()] == [site.waits]
    told, site.waits = site.workloads.told.count, ""
    await site.workloads.look()
    assert site.workloads.told.count == told + 1
    site.waits = "everything is started anew"
    assert [one.local.waits for one in site.workloads.wanted()] == [site.waits], "before any look"


async def test_a_newer_image_is_looked_for_at_starts_on_purpose_only(site: Site) -> None:
    site.script()
    await site.workloads.look()
    [before] = site.workloads.wanted()
    site.running, site.workloads = {NAME: before}, site.again()
    for why, expected in (("", 0), ("everything is restarted", 1), ("", 1), ("again", 2)):
        await site.workloads.hold(why)
        await site.workloads.look()
        assert [one.local.refreshes for one in site.workloads.wanted()] == [expected]


async def test_case_33_nothing_is_wanted_without_a_script(site: Site) -> None:
    for name in ("_helper.py", ".hidden.py", "cyberwave.yml", "notes.txt"):
        site.script(name)
    (site.directory / "workers" / "package.py").mkdir()
    assert await site.look() is None
    site.script()
    found = await site.look()
    assert found is not None
    assert found.workload == NAME
    assert found.spec.worker is not None
    assert found.spec.worker.scripts == str(site.directory / "workers")
    assert found.spec.container is not None
    owner = site.directory.stat()
    assert found.spec.container.user == f"{owner.st_uid}:{owner.st_gid}"


async def test_scripts_that_come_and_go_are_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GONE_FOR", 0.5)
    async with site.followed():
        path = site.script()
        await eventually(lambda: bool(site.workloads.wanted()), "the workers are wanted")
        path.unlink()
        await eventually(lambda: not site.workloads.wanted(), "they are wanted no more")


async def test_a_copy_that_removes_first_ends_nothing(site: Site) -> None:
    path = site.script()
    before = await site.look()
    path.unlink()
    assert await site.look() == before
    site.script()
    assert await site.look() == before


async def test_without_an_environment_or_credentials_nothing_is_started_and_nothing_ended(
    site: Site,
) -> None:
    site.script()
    site.config = msgspec.structs.replace(site.config, environment="")
    assert await site.look() is None
    site.config = msgspec.structs.replace(site.config, environment=ENVIRONMENT)
    site.barred = "no credentials"
    assert await site.look() is None
    site.barred = ""
    before = await site.look()
    assert before is not None
    site.barred, site.running = "no credentials", {NAME: before}
    site.twins = [TWIN, OTHER]
    assert await site.look() == before


async def test_the_order_of_twins_restarts_nothing_and_another_twin_does(site: Site) -> None:
    site.script()
    site.twins = [OTHER, TWIN]
    before = await site.look()
    assert before is not None
    site.twins = [TWIN, OTHER]
    assert await site.look() == before
    site.workloads = site.again()
    assert await site.look() == before
    site.twins = [TWIN]
    after = await site.look()
    assert after is not None
    assert after.spec != before.spec


async def test_without_its_image_for_gpus_the_plain_one_runs(site: Site) -> None:
    site.script()
    site.gpus = True
    assert await site.image() == f"{PLAIN}-gpu"
    site.problems[f"{PLAIN}-gpu"] = "the registry has no such image"
    assert await site.image() == PLAIN
    del site.problems[f"{PLAIN}-gpu"]
    assert await site.image() == PLAIN  # it is not tried again and again
    found = await site.look()
    assert found is not None
    assert found.spec.container is not None
    assert found.spec.container.gpus == "all"


async def test_where_the_engine_gives_no_gpu_after_all_the_workers_run_without(site: Site) -> None:
    site.script()
    site.gpus = True

    async def gpus() -> object:
        found = await site.look()
        assert found is not None
        assert found.spec.container is not None
        return found.spec.container.gpus, found.spec.container.image

    assert await gpus() == ("all", f"{PLAIN}-gpu")
    site.gpu_problem = "cannot start it: could not select device driver"
    assert await gpus() == (None, PLAIN)
    site.gpu_problem = ""
    assert await gpus() == (None, PLAIN)
    await site.workloads.hold("restarting")
    assert await gpus() == ("all", f"{PLAIN}-gpu")


async def test_an_image_that_could_not_be_had_is_tried_again_while_the_other_one_runs(
    site: Site,
) -> None:
    clock = site.clock = ManualClock()
    site.workloads = site.again()
    site.script()
    site.gpus = True
    site.problems[f"{PLAIN}-gpu"] = "the registry has no such image"
    await site.look()
    assert await site.image() == PLAIN
    del site.problems[f"{PLAIN}-gpu"]
    clock.advance(worker.TRY_AGAIN - 1)
    assert await site.image() == PLAIN
    clock.advance(1)
    assert await site.image() == f"{PLAIN}-gpu"
    site.problems[f"{PLAIN}-gpu"] = "the registry has no such image"
    assert await site.image() == PLAIN
    del site.problems[f"{PLAIN}-gpu"]
    await site.workloads.hold("restarting")
    await site.workloads.hold("")
    assert await site.image() == PLAIN
    clock.advance(worker.AFTER_RESTART)
    assert await site.image() == f"{PLAIN}-gpu"


async def test_a_restart_asks_again_whether_there_are_gpus(site: Site) -> None:
    site.script()
    assert await site.image() == PLAIN
    site.gpus = True
    assert await site.image() == PLAIN
    await site.workloads.hold("restarting")
    assert await site.image() == f"{PLAIN}-gpu"


@pytest.mark.guarantee("G8")
async def test_while_the_scripts_cannot_be_listed_what_runs_goes_on(site: Site) -> None:
    site.script()
    before = await site.look()
    assert before is not None
    scripts, elsewhere = site.directory / "workers", site.directory / "elsewhere"
    scripts.rename(elsewhere)
    scripts.symlink_to(scripts)  # reading it fails, whoever does it
    assert await site.look() == before
    site.workloads, site.running = site.again(), {NAME: before}
    again = await site.look()
    assert again is not None
    assert (again.spec, again.local.recipe) == (before.spec, before.local.recipe)
    site.workloads, site.running = site.again(), {}
    assert await site.look() is None
    scripts.unlink()
    elsewhere.rename(scripts)
    assert await site.look() == before


async def test_an_engine_that_is_away_changes_nothing(site: Site) -> None:
    site.script()
    site.gpus = True
    with_gpus = await site.look()
    assert with_gpus is not None
    site.workloads, site.gpus, site.running = site.again(), None, {NAME: with_gpus}
    found = await site.look()
    assert found is not None
    assert found.spec == with_gpus.spec
    site.running = {}
    site.workloads = site.again()
    assert await site.image() == PLAIN


async def test_an_instance_may_speak_for_the_workflows_that_there_are_now(site: Site) -> None:
    site.script()
    site.twins = [TWIN, OTHER]
    (site.directory / f"{TWIN}.json").write_text("{}")
    assignment = await site.look()
    assert assignment is not None
    launch = site.workloads.launch_for(assignment, "i1")
    assert isinstance(launch, ContainerLaunch)
    token = launch.environment["CYBERWAVE_API_KEY"]
    grant = site.tokens.grant_of(token)
    assert grant is not None
    assert (grant.role, grant.twins, grant.environment) == ("worker", (TWIN, OTHER), ENVIRONMENT)
    assert grant.workflows == ()
    site.workflows = ["w1"]
    await site.look()
    renewed = site.tokens.grant_of(token)
    assert renewed is not None
    assert renewed.workflows == ("w1",)
    site.tokens.keep_only([])
    site.workflows = ["w1", "w2"]
    await site.look()
    assert site.tokens.grant_of(token) is None
    again = site.workloads.launch_for(assignment, "i1")
    assert again is not None
    assert again.environment == launch.environment


async def test_it_is_told_when_the_workers_are_to_be_down(site: Site) -> None:
    site.script()
    await site.look()
    told = site.workloads.told.count
    site.held = "it holds too much"
    found = await site.look()
    assert found is not None
    assert (found.local.stopped, found.local.held) == (True, "it holds too much")
    assert site.workloads.told.count == told + 1
    site.held = ""
    found = await site.look()
    assert found is not None
    assert (found.local.stopped, found.local.held) == (False, "")
    assert site.workloads.told.count == told + 2


async def test_other_limits_of_the_device_are_another_worker(site: Site) -> None:
    site.script()
    before = await site.look()
    assert before is not None
    site.limits = DriverLimits(1 << 30, 64)
    found = await site.look()
    assert found is not None
    assert (found.spec, found.generation) == (before.spec, before.generation)
    assert found.local != before.local
    launch = site.workloads.launch_for(found, "i")
    assert isinstance(launch, ContainerLaunch)
    assert (launch.resources.memory, launch.resources.pids) == (1 << 30, 64)


async def test_no_link_in_the_place_of_a_twins_file_is_given_to_a_worker(site: Site) -> None:
    site.script()
    site.twins = [TWIN, OTHER]
    (site.directory / f"{TWIN}.json").write_text("{}")
    (site.directory / "elsewhere").write_text("{}")
    (site.directory / f"{OTHER}.json").symlink_to(site.directory / "elsewhere")
    assignment = await site.look()
    assert assignment is not None
    launch = site.workloads.launch_for(assignment, "i1")
    assert isinstance(launch, ContainerLaunch)
    sources = {mount["Source"] for mount in launch.extras.host["Mounts"]}
    assert str(site.directory / f"{TWIN}.json") in sources
    assert str(site.directory / f"{OTHER}.json") not in sources
    assert not (site.run / "views" / NAME / f"{OTHER}.json").exists()


async def test_what_a_worker_sees_of_the_directory_has_no_secret(site: Site) -> None:
    site.script()
    for name in ("credentials.json", "fingerprint.json", f"{TWIN}.json", f"{OTHER}.json"):
        (site.directory / name).write_text('{"token": "cw_device"}')
    assignment = await site.look()
    assert assignment is not None
    launch = site.workloads.launch_for(assignment, "i1")
    assert isinstance(launch, ContainerLaunch)
    view = site.run / "views" / NAME
    assert {path.name for path in view.iterdir()} == {
        "credentials.json", "fingerprint.json", f"{TWIN}.json"
    }  # fmt: skip
    assert (view / "credentials.json").read_text() == ""
    assert b"cw_device" not in launch.secret_files["credentials.json"]
    status = site.run / "status" / NAME
    assert (status.stat().st_uid, status.stat().st_gid) == (os.geteuid(), os.getegid())


async def test_other_workloads_are_no_affair_of_it(site: Site) -> None:
    site.script()
    assignment = await site.look()
    assert assignment is not None
    other = msgspec.structs.replace(assignment, workload="cyberwave-driver-x")
    assert site.workloads.launch_for(other, "i1") is None
    assert not site.workloads.is_local(NAME)
