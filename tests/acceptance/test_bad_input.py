"""Bad input from every side: a clear error that names the thing and the way out, and everything else goes on."""

import asyncio
import io
import json
import os
import re
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from tests.command_line import CommandLine
from tests.installation import Installation, Node, installation, restart_never, sleeper

from skerry.testing.waiting import eventually
from skerry.wire.codec import compress
from skerry.wire.people import WorkloadView
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import Logs, ProcessSpec, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

MIB = 1024 * 1024


def running(name: str, command: list[str], **fields: object) -> WorkloadSpec:
    return WorkloadSpec(name=name, process=ProcessSpec(command=command), **fields)  # type: ignore[arg-type]


async def publish(node: Node, value: int) -> None:
    record = PublishedRecord("t.value", value, value)
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", [record], 60.0)


async def says(node: Node, workload: str, words: str) -> bool:
    status = await node.status()
    assert status is not None
    return any(each.workload == workload and words in each.message for each in status.workloads)


async def phase_is(node: Node, workload: str, *phases: str) -> bool:
    status = await node.status()
    assert status is not None
    return any(each.workload == workload and each.phase in phases for each in status.workloads)


async def check_all_works(site: Installation, node: Node, value: int) -> None:
    """The link, the workloads and a value's whole way."""
    assert await node.runs("feeder", "steady")
    await eventually(lambda: node.link_is("online"), "the node is online")
    await publish(node, value)
    await eventually(partial(arrived, site, value), "the value is at the hub")


async def arrived(site: Installation, value: int) -> bool:
    return [row.value for row in await site.hub.rows("t.value")].count(value) == 1


FIFTY_MB = "kind: workload\nname: cam\nprocess: {command: [cam]}\nenv:\n" + "".join(
    f"  VARIABLE_{n}: '{'x' * 1000}'\n" for n in range(50_000)
)

BAD_FILES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "cut-off": (
        "kind: workload\nname: cam\nprocess: {command: [python, -m, ca",
        ("cut-off.yaml:3:", "Has the file been cut off?"),
    ),
    "half-a-line": ("kind: workload\nname: cam\nproc", ("half-a-line.yaml:3:", "cut off?")),
    "wrong-types": (
        "kind: workload\nname: cam\nprocess: {command: cam --fast}\nenv: [A]\nresources: {memory: lots}\nready: {tcp: x}\n",
        (
            "wrong-types.yaml:3: process.command must be a list, write: [cam, --fast]",
            "wrong-types.yaml:4: env must be a map of texts",
            "wrong-types.yaml:5: resources.memory: «lots» is not a size: write a number with",
            "wrong-types.yaml:6: ready.tcp must be a whole number",
        ),
    ),
    "runtime": (
        "kind: workload\nname: cam\nruntime: docker\nprocess: {command: [cam]}\n",
        ("runtime.yaml:3: unknown runtime «docker», this build knows: process",),
    ),
    "no-module": (
        "kind: workload\nname: cam\nruntime: wasm\n",
        ("no-module.yaml:1: missing field «wasm»",),
    ),
    "binary": (bytes(range(256)) * 40, ("binary.yaml", "Is the file binary?")),
    "empty": ("", ("empty.yaml: cannot find a workload in it",)),
    "fifty-megabytes": (FIFTY_MB, ("fifty-megabytes.yaml", "MB is more than a file may have (1 MiB)")),
}  # fmt: skip


async def test_a_bad_file_changes_nothing(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        await site.hub.apply(sleeper("steady"))
        shell = CommandLine(site)
        for name, (content, _) in BAD_FILES.items():
            shell.file(f"{name}.yaml", content)
        files = [*(str(shell.home / f"{name}.yaml") for name in BAD_FILES), "/dev/zero"]
        answers = await asyncio.gather(*(shell.run("apply", "-f", file) for file in files))
        for answer, (_, words) in zip(answers, BAD_FILES.values(), strict=False):
            assert (answer.code, answer.out) == (2, "")
            for part in words:
                assert part in answer.err
        assert "/dev/zero: it has more than a file may have" in answers[-1].err
        async with site.hub.api() as api:
            assert [v.name for v in await api.get("/api/v1/workloads", list[WorkloadView])] == ["steady"]  # fmt: skip


async def test_too_much_for_the_apis(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"), sleeper("steady"))
        token = (site.hub.directory / "admin.token").read_text().strip()
        person, device = bearer(token), {"Content-Type": "application/json"}
        spec = {"name": "cam", "process": {"command": ["cam"]}}
        huge = [{**spec, "env": {f"A{n}": "x" * 1000 for n in range(50_000)}}]
        large = [{**spec, "env": {f"A{n}": "x" * 100_000 for n in range(20)}}]
        bomb = compress(bytes(50 * MIB))
        unknown = [{**spec, "runtime": "docker"}]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=node.tls())) as hub:
            for headers, path, body, wanted, words in (
                (person, "/api/v1/workloads", json.dumps({"workloads": huge}).encode(), 413, "at most 16777216 bytes"),
                (person, "/api/v1/workloads", json.dumps({"workloads": large}).encode(), 400, "Put what is large into files"),
                (person, "/api/v1/workloads", json.dumps({"workloads": unknown}).encode(), 400, "'docker' - at `$.workloads[0].runtime`. What it must look like: /schema"),
                (person, "/api/v1/workloads", b'{"workloads": [{"name": "ca', 400, "truncated"),
                (person | {"Content-Encoding": "zstd"}, "/api/v1/workloads", bomb, 413, "at most 16777216 are read"),
                (device, "/sync/v1/push", bytes(50 * MIB), 413, "at most 16777216 bytes"),
                (device | {"Content-Encoding": "zstd"}, "/sync/v1/push", bomb, 413, "at most 16777216 are read"),
            ):  # fmt: skip
                is_person = "Authorization" in headers
                method, at = ("PUT", site.hub.url) if is_person else ("POST", site.hub.nodes_url)
                async with hub.request(
                    method, at + path, data=io.BytesIO(body), headers=headers
                ) as answer:
                    assert answer.status == wanted, await answer.text()
                    assert words in (await answer.json())["error"]
        door = aiohttp.UnixConnector(str(node.directory / "run" / "w" / "feeder" / "sock"))
        async with (
            aiohttp.ClientSession("http://node", connector=door) as local,
            local.post("/v1/publish", data=io.BytesIO(bytes(50 * MIB))) as answer,
        ):
            assert answer.status == 413
            assert "body size 16777216 exceeded" in (await answer.json())["error"]
        await check_all_works(site, node, 1)


async def shows(shell: CommandLine, words: str) -> bool:
    return words in (await shell.run("get", "workloads")).out


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


@pytest.mark.guarantee("G4")
async def test_commands_that_cannot_be_started(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"), sleeper("steady"))
        before = await node.pids()
        scrambled, plain = tidy_dir / "scrambled", tidy_dir / "plain"
        scrambled.write_bytes(os.urandom(4096))
        scrambled.chmod(0o755)
        plain.write_text("hello\n")
        cases = {
            "typo": (["sleeep", "1"], "command «sleeep» not found. Give its full path, or a PATH in"),
            "gone": (["/opt/cam/run"], "command «/opt/cam/run» does not exist, or its interpreter does not. Correct"),
            "data": ([str(plain)], f"command «{plain}»: Permission denied. Is it a program, and executable"),
            "noise": ([str(scrambled)], f"command «{scrambled}»: Exec format error. It is no program for"),
        }  # fmt: skip
        specs = [running(name, command) for name, (command, _) in cases.items()]
        nowhere = ProcessSpec(command=["sleep", "1"], directory="/opt/cam")
        await site.hub.apply(*specs, WorkloadSpec(name="nowhere", process=nowhere))
        cases["nowhere"] = ([], "working directory «/opt/cam»: No such file or directory. Make it")
        for name, (_, cause) in cases.items():
            sentence = f"cannot start workload «{name}»: {cause}"
            await eventually(partial(says, node, name, sentence), sentence)
        shell = CommandLine(site)
        await eventually(partial(shows, shell, "command «sleeep» not found"), "a person sees why")
        assert (
            await shell.run("logs", "gone")
        ).err == "skerry: workload «gone» has printed nothing\n"
        doctor = await shell.run("doctor", "-o", "json")
        [check] = [each for each in json.loads(doctor.out)["checks"] if each["name"] == "workloads"]
        assert (check["outcome"], "typo (backoff: cannot start" in check["detail"]) == ("warning", True)  # fmt: skip
        await site.hub.apply(sleeper("typo"))
        await eventually(lambda: node.runs("typo"), "the corrected workload runs")
        assert {name: pid for name, pid in (await node.pids()).items() if name in before} == before


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize(
    "megabytes", [100, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
async def test_floods_of_text_and_noise(tidy_dir: Path, megabytes: int) -> None:
    lines = f"import os\nfor _ in range({megabytes}): os.write(1, (b'x' * 99 + b'\\n') * 10_000)"
    noise = (
        "import os\nfor _ in range(160): os.write(1, os.urandom(65536)); os.write(2, bytes(999))"
    )
    bounds = Logs(max_size=1_000_000, files=2)
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"), sleeper("steady"))
        status = await node.status()
        assert status is not None
        assert status.keeper_pid is not None
        before = {pid: peak(pid) for pid in (status.pid, status.keeper_pid)}
        specs = {"flood": loops(lines), "noise": noise}
        await site.hub.apply(
            *(
                running(name, ["python", "-c", code], restart=restart_never(), logs=bounds)
                for name, code in specs.items()
            )
        )
        value = 0
        while not all([await phase_is(node, name, "succeeded") for name in specs]):
            value += 1
            await publish(node, value)
        await check_all_works(site, node, value + 1)
        await eventually(lambda: site.hub.has("t.value", value + 1), "every value arrives")
        for name in specs:
            files = [each for each in (node.directory / "logs" / name).iterdir() if each.is_file()]
            assert sum(each.stat().st_size for each in files) <= bounds.files * bounds.max_size
        for pid, kilobytes in before.items():
            assert peak(pid) - kilobytes < 16_000, "neither holds what passes through"
        shell = CommandLine(site)
        for name in specs:
            printed = await shell.run("logs", name)
            assert (printed.code, printed.err) == (0, "")
            assert len(printed.out) > 1000


def loops(code: str) -> str:
    """The same, and at its end a last line."""
    return f"{code}\nprint('the end')"


def peak(pid: int) -> int:
    """The most memory that a process has ever had, in kB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])
