"""Images on their way to a workload: progress, registries that are down or want a password, a full disk, images that vanish."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.container_site import (
    PYTHON_ENV,
    another,
    box,
    log_of,
    of_image,
    remove_image,
    says,
    with_engine,
)
from tests.engines import TestEngine, ask, image_archive, running, saved_as
from tests.files_in_use import contents
from tests.installation import Installation, installation, sleeper
from tests.registry import layer, registry
from tests.secret_site import words_of
from tests.small_disk import fill

from skerry.testing.waiting import eventually
from skerry.wire.records import Row

pytestmark = pytest.mark.timeout(180)

PYTHON = {"Env": PYTHON_ENV}


async def stages(site: Installation) -> list[Row]:
    return [row for row in await site.hub.rows("skerry.image.pull") if row.kind == "event"]


async def told(site: Installation, stage: str) -> bool:
    return stage in {row.value for row in await stages(site)}


async def test_a_pull_tells_its_progress_and_survives_a_registry_that_goes_away(
    short_dir: Path, engine: TestEngine
) -> None:
    with registry(pause=0.02) as source:
        image = source.add(
            "acme/slow:1", [image_archive(), layer({"r": os.urandom(3_000_000)})], PYTHON
        )
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await site.hub.apply(box("box", container=of_image(image)))
            await node.start()
            await eventually(partial(told, site, "progress"), "the progress is told")
            source.stop()
            if engine.name == "docker":  # it tries again by itself, five times
                cut = "the download was cut, the engine tries again"
                await eventually(partial(says, node, "box", cut), "it says that it was cut")
            else:
                await eventually(partial(told, site, "failed"), "the failure is told")
            source.pause = 0.0
            source.start()
            await eventually(lambda: node.runs("box"), f"it runs; {log_of(node, 'box')}", 60)
            await eventually(partial(told, site, "done"), "the end is told")
            rows = await stages(site)
            progress = [row for row in rows if row.value == "progress"]
            assert {row.source for row in rows} == {"skerry"}
            assert rows[0].value == "started"
            assert {row.meta["image"] for row in rows} == {image}
            assert {row.meta["workloads"] for row in rows} == {"box"}
            assert int(progress[0].meta["layers_total"]) >= 1
            if engine.name == "docker":  # Podman tells bytes once a second, perhaps too late here
                assert max(int(row.meta["bytes_total"]) for row in progress) >= 3_000_000
            assert f"skerry: pulling image {image}: " in log_of(node, "box")
            assert f"skerry: pulled image {image}" in log_of(node, "box")
    remove_image(engine, image)


async def test_a_registry_that_wants_a_password_gets_it_and_nobody_else_does(
    short_dir: Path, engine: TestEngine
) -> None:
    secret = short_dir / "password"
    secret.write_text("s3cr3t-for-the-registry\n")
    secret.chmod(0o644)
    with registry(login="edge:s3cr3t-for-the-registry") as source:
        image = source.add("acme/private:1", [image_archive()], PYTHON)
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            account = {source.address: {"username": "edge", "password_file": str(secret)}}
            node.options += ["--set", f"containers.registries={json.dumps(account)}"]
            await node.enrol(site.hub)
            await site.hub.apply(box("box", container=of_image(image)))
            await node.start()
            refused = f"cannot use the password of registry {source.address}: {secret} may be read"
            await eventually(partial(says, node, "box", refused), "an open file is refused")
            secret.chmod(0o600)
            await eventually(lambda: node.runs("box"), f"it runs; {log_of(node, 'box')}", 60)
            instance = json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1])[0]
            inspected = ask(engine.socket, "GET", f"/v1.40/containers/{instance['Id']}/json")[1]
            rows = str(await stages(site))
            everything = [node.log.read_bytes(), inspected, rows.encode()]
            everything += [content for _, content in contents(node.directory)]
            words = [words_of(Path(f"/proc/{pid}/cmdline")) for pid in node.processes()]
            assert not any(b"s3cr3t" in text for text in [*everything, *words])
    remove_image(engine, image)


@pytest.mark.guarantee("G2")
async def test_pull_always_starts_with_what_is_here_and_says_so(
    short_dir: Path, engine: TestEngine
) -> None:
    with registry() as source:
        image = source.add("acme/always:1", [image_archive()], PYTHON)
        spec = box("box", container=of_image(image, pull="always"))
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await site.hub.apply(spec)
            await node.start()
            await eventually(lambda: node.runs("box"), f"it runs; {log_of(node, 'box')}", 60)
            before = (await node.pids())["box"]
            source.stop()
            await site.hub.apply(msgspec.structs.replace(spec, env={"NEW": "1"}))
            await eventually(partial(another, node, "box", before), "the one here is started")
            log = log_of(node, "box")
            assert f"cannot pull image {image}: " in log
            assert "The one that is here is used" in log
    remove_image(engine, image)


@pytest.mark.guarantee("G3")
async def test_an_image_that_was_removed_is_fetched_again(
    short_dir: Path, engine: TestEngine
) -> None:
    with registry() as source:
        image = source.add("acme/lost:1", [image_archive()], PYTHON)
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await site.hub.apply(box("box", container=of_image(image)))
            await node.start()
            await eventually(lambda: node.runs("box"), f"it runs; {log_of(node, 'box')}", 60)
            before = (await node.pids())["box"]
            source.stop()
            take_name_away(engine, image)
            os.kill(before, signal.SIGKILL)
            lost = f"cannot start workload «box»: image {image} is not on this node and the registry did not"
            await eventually(partial(says, node, "box", lost), "it says why")
            source.start()
            await eventually(partial(another, node, "box", before), "it runs again", 60)
    remove_image(engine, image)


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("name", ["docker", "podman"])
async def test_a_full_disk_of_the_engine_is_named_and_ends(
    request: pytest.FixtureRequest, short_dir: Path, name: str
) -> None:
    other: TestEngine = request.getfixturevalue(f"{name}_engine")
    with registry() as source, running(name, root_megabytes=400) as engine:
        image = source.add("acme/big:1", [image_archive()], PYTHON)
        hog = fill(engine.root)
        async with installation(short_dir) as site:
            node = with_engine(site.node(), engine)
            await node.enrol(site.hub)
            await site.hub.apply(box("box", container=of_image(image)), sleeper("native"))
            await node.start()
            full = f"image {image} cannot be stored: no space left on the engine's disk"
            await eventually(partial(says, node, "box", full), "it says why", 60)
            await eventually(lambda: node.runs("native"), "nothing else waits for it")
            archive = short_dir / "big.tar"
            archive.write_bytes(saved_as(other.socket, "localhost/acme/loaded:1"))
            shell = CommandLine(site)
            loaded = await shell.run(
                "image", "load", str(archive), "--data-dir", str(node.directory)
            )
            assert loaded.code != 0
            assert "no space left" in loaded.err
            hog.unlink()
            await eventually(lambda: node.runs("box"), f"it goes on; {log_of(node, 'box')}", 60)


def take_name_away(engine: TestEngine, image: str) -> None:
    """It has no such image any more. Podman's removal would end what runs from it, and race its successor's start."""
    if engine.name == "podman":
        assert ask(engine.socket, "POST", f"/v4.0.0/libpod/images/{image}/untag")[0] == 201
    else:
        assert ask(engine.socket, "DELETE", f"/v1.40/images/{image}?force=1")[0] == 200
