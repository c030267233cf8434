"""`skerry files`: listing, downloads that go on, and what is not there."""

import asyncio
from functools import partial

import pytest
from tests.installation import sleeper
from tests.model_cases import content
from tests.shell import Shell
from tests.site_files import arrived, upload

from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)


async def test_from_the_workload_to_the_person(shell: Shell) -> None:
    none = await shell.run("files", "list")
    assert "no files: a workload uploads one by sdk.upload(path)" in none.err
    node = await shell.site.started(sleeper("cam"))
    data = content(900_000)
    ref = await upload(node, data)
    await eventually(partial(arrived, shell.site, ref.sha256), "the file has arrived")

    listed = await shell.run("files", "list", "cam/*")
    assert listed.lines[0].split() == [
        "TIME",
        "NAME",
        "NODE",
        "SOURCE",
        "SIZE",
        "ARRIVED",
        "SHA-256",
    ]
    assert listed.lines[1].split()[1:] == [
        "cam/a.bin",
        "n1",
        "cam",
        "900",
        "KB",
        "yes",
        ref.sha256[:12],
    ]

    got = await shell.run("files", "get", "cam/a.bin", "--to", str(shell.home))
    assert (got.code, got.out) == (0, f"{shell.home}/a.bin: 900 KB, SHA-256 {ref.sha256}\n")
    assert (shell.home / "a.bin").read_bytes() == data

    part = shell.home / f"b.bin.{ref.sha256[:8]}.part"
    part.write_bytes(data[:500_000])
    async with ChaosProxy("127.0.0.1", shell.site.hub.port) as proxy:
        proxy.path.rate = 2_000_000  # as in tests.fault.test_file_transfers
        proxy.cut_every(200_000, "down")
        by_hash = await shell.run(
            "files", "get", ref.sha256[:10], "--to", str(shell.home / "b.bin"), "--hub", f"http://127.0.0.1:{proxy.port}",
            "--token-file", str(shell.site.hub.directory / "admin.token"),
        )  # fmt: skip
        assert by_hash.code == 0, by_hash.err
        # Less than all of it: each cut loses what its reader has not taken yet.
        assert proxy.forwarded["down"] < len(data)
    assert (shell.home / "b.bin").read_bytes() == data
    assert not part.exists()

    part.write_bytes(bytes(500_000))
    wrong = await shell.run("files", "get", "cam/a.bin", "--to", str(shell.home / "b.bin"))
    assert (wrong.code, "what came is" in wrong.err, part.exists()) == (1, True, False)
    missing = await shell.run("files", "get", "nothing")
    assert "cannot get file «nothing»: there is none" in missing.err
    records = await shell.run("query", "cam/*")
    assert str(ref) in records.out


async def test_a_file_that_is_on_its_way_is_said_to_be(shell: Shell) -> None:
    async with ChaosProxy("127.0.0.1", shell.site.hub.nodes_port) as proxy:
        node = await shell.site.started(sleeper("cam"), url=f"https://127.0.0.1:{proxy.port}")
        proxy.path.rate = 50_000
        await upload(node, content(900_000))
        await eventually(partial(_is_listed, shell), "the record has arrived")
        got = await shell.run("files", "get", "cam/a.bin")
        assert got.code == 1
        assert "of 900 KB have arrived from node «n1». Try later." in got.err
        await asyncio.sleep(0)


async def _is_listed(shell: Shell) -> bool:
    return "cam/a.bin" in (await shell.run("files", "list")).out
