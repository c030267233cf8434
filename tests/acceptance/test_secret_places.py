"""Where a secret's value is not: disks of hub and node, their backups, logs, arguments, others' environments, the wire."""

import asyncio
import sys
from pathlib import Path

import pytest
import zstandard
from tests.files_in_use import contents
from tests.installation import installation
from tests.secret_site import (
    CANARY,
    found_below,
    holds,
    log_of,
    message,
    put,
    seen,
    shows,
    words_of,
)

from skerry.testing.waiting import eventually

pytestmark = [pytest.mark.timeout(180), pytest.mark.guarantee("G10")]

IN_CLEAR = "nodes: {method: secret}\n"
"""Without certificates, so that the wire can be read."""

ON = "encryption: {storage: {enabled: true}}\n"
_FRAME = b"\x28\xb5\x2f\xfd"


class Wire:
    """Stands between node and hub, and keeps every byte of both directions."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.streams: list[bytearray] = []

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self.streams.append(stream)
        try:
            while data := await source.read(65536):
                stream += data
                target.write(data)
                await target.drain()
        except OSError:
            pass  # one side hung up
        finally:
            target.close()

    def seen(self) -> bytes:
        """All of it, and what was compressed once more in clear."""
        whole = [bytes(stream) for stream in self.streams]
        return b"\n".join([*whole, *(text for stream in whole for text in unpacked(stream))])


def unpacked(stream: bytes) -> list[bytes]:
    found, at = [], stream.find(_FRAME)
    while at >= 0:
        try:
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(stream[at:]))
        except zstandard.ZstdError:
            found.append(b"")
        at = stream.find(_FRAME, at + 1)
    return found


async def command(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "skerry.cli.main", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_a_secret_stands_nowhere_but_with_its_workload(
    short_dir: Path, *, encrypted: bool
) -> None:
    async with installation(short_dir, IN_CLEAR + (ON if encrypted else "")) as site:
        async with Wire(site.hub.port) as wire:
            node = site.node(url=f"http://127.0.0.1:{wire.port}")
            node.options += ["--set", "encryption.storage.enabled=true"] if encrypted else []
            await node.enrol(site.hub)
            await node.start()
            await node.ready()
            await site.hub.apply(shows())

            async def waits() -> bool:
                return "secret «db»: it does not exist" in await message(node)

            await eventually(waits, "it says what it waits for")
            assert (await put(site.hub, "db", CANARY)).used_by == ["shows"]
            await eventually(lambda: seen(node) == f"{len(CANARY)} 3", "it has its secret")
            await eventually(lambda: "stdout F env" in log_of(node), "it has printed it")
            assert "file 0o400 True ***" in log_of(node)

            options = ["--data-dir", str(node.directory)]
            await command("node", "backup", str(short_dir / "node.backup"), *options)
            hub = ["--data-dir", str(site.hub.directory)]
            config = ["--config", str(short_dir / "hub.yaml")]
            await command("hub", "backup", str(short_dir / "hub.backup"), *hub, *config)
            shown = await command(
                "secret",
                "list",
                "--hub",
                site.hub.url,
                "--token-file",
                str(site.hub.directory / "admin.token"),
            )
            assert "db" in shown

            for pid in [each for each in Path("/proc").iterdir() if each.name.isdecimal()]:
                assert not holds(words_of(pid / "cmdline"))
            user = await node.pid("shows")
            assert holds(words_of(Path(f"/proc/{user}/environ")))
            others = set(node.processes()) - {user}
            assert not any(holds(words_of(Path(f"/proc/{pid}/environ"))) for pid in others)
            traffic = wire.seen()
            assert b'"secrets":[{"name":"db"' in traffic
            assert not holds(traffic)
            assert not holds(shown.encode())
            assert found_below(short_dir) == []
        key = node.directory / "trust" / "secrets.key"
        assert key.stat().st_mode & 0o777 == 0o600
        secret = key.read_bytes()[:32]
        found = [path for path, content in contents(short_dir) if secret in content]
        assert found == [key]
        assert (site.hub.directory / "trust" / "secrets.key").exists() is not encrypted
