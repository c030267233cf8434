"""`sdk.upload` against the node's real local API on a UNIX socket."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.local_node import local_node
from tests.model_cases import content, sha256
from tests.record_rig import held
from tests.sdk_client import make_client

from skerry import sdk
from skerry.sdk.connection import NodeConnection
from skerry.sdk.content import Content, fitting
from skerry.wire.records import PublishedRecord

DATA = content(1_500_000)
RECORD = PublishedRecord("cam/a.bin", "", 5, {"lens": "wide"})


@pytest.fixture
def path(short_dir: Path) -> Path:
    (short_dir / "w").mkdir()
    return short_dir / "w" / "sock"


def bytes_on(directory: Path, sha: str) -> bytes:
    return (directory / "files" / sha[:2] / sha[2:]).read_bytes()


def ask(path: Path, method: str, where: str, body: bytes) -> tuple[int, bytes]:
    connection = NodeConnection(str(path), 10)
    connection.request(method, where, body)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_a_path_or_bytes(
    short_dir: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKERRY_SOCKET", str(path))
    sdk._client.cache_clear()
    source = short_dir / "my photo (1).jpg"
    source.write_bytes(DATA)
    async with local_node(short_dir, path, files=10**9) as store:
        found = await asyncio.to_thread(sdk.upload, source, meta={"camera": "top"}, at=7)
        assert found == sdk.UploadedFile("my_photo__1_.jpg", sha256(DATA), len(DATA))
        assert bytes_on(short_dir, found.sha256) == DATA
        source.unlink()
        again = await asyncio.to_thread(sdk.upload, bytearray(DATA), name="cam/b.jpg")
        assert again.sha256 == found.sha256
        rows = (await asyncio.to_thread(sdk.query, "*", kind="file"))[:2]
        assert [(row.name, row.source, row.value) for row in rows] == [
            ("my_photo__1_.jpg", "w", f"sha256:{found.sha256}:{len(DATA)}"),
            ("cam/b.jpg", "w", f"sha256:{found.sha256}:{len(DATA)}"),
        ]
        assert (rows[0].at, rows[0].meta) == (7, {"filename": "my photo (1).jpg", "camera": "top"})
        assert store.head("event").n == 2
        for wrong, words in (
            (lambda: sdk.upload(source), "No such file"),
            (lambda: sdk.upload(b"x"), "without a name"),
            (lambda: sdk.upload(b"x", name="a b"), "matching regex"),
            (lambda: sdk.upload(short_dir), "Is a directory"),
        ):
            with pytest.raises(sdk.InvalidInput, match=words):
                await asyncio.to_thread(wrong)
    sdk._client.cache_clear()


async def test_a_full_node_is_a_clear_error_whatever_the_size(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path, files=1_000_000):
        for data in (DATA, content(30_000_000)):
            with pytest.raises(sdk.StorageFull, match="files.limit"):
                await asyncio.to_thread(make_client(path).upload, Content(data), RECORD, 20)
        await asyncio.to_thread(make_client(path).upload, Content(b"small"), RECORD, 20)


async def test_bytes_that_went_between_the_two_calls_are_sent_again(
    short_dir: Path, path: Path
) -> None:
    async with local_node(short_dir, path, files=10**9) as store:
        client = make_client(path)
        put, calls = client._put, list[object]()

        def put_but_the_first(*given: object) -> None:
            calls.append(given)
            if len(calls) > 1:
                put(*given)  # type: ignore[arg-type]

        client._put = put_but_the_first  # type: ignore[method-assign]
        await asyncio.to_thread(client.upload, Content(DATA), RECORD, 20)
        assert len(calls) == 2
        assert [value for _, _, value in held(store, "event")] == [
            f"sha256:{sha256(DATA)}:{len(DATA)}"
        ]


async def test_what_the_socket_answers(short_dir: Path, path: Path) -> None:
    good = sha256(DATA)
    publish = b'{"kind": "file", "records": [{"name": "a", "value": "sha256:%b:5"}]}'
    async with local_node(short_dir, path, files=10**9):
        for method, where, body, status, words in (
            ("PUT", f"/v1/files/{good[:-1]}", DATA, 400, b"no SHA-256"),
            ("PUT", f"/v1/files/{'0' * 64}", DATA, 400, b"Was it changed meanwhile?"),
            ("POST", "/v1/publish", publish % good.encode(), 404, b"Send them first"),
            ("POST", "/v1/publish", publish % b"xyz", 400, b"write sha256:HEX:SIZE"),
            ("PUT", f"/v1/files/{good}", DATA, 200, good.encode()),
        ):
            assert (await asyncio.to_thread(ask, path, method, where, body))[0] == status
            found = await asyncio.to_thread(ask, path, method, where, body)
            assert words in found[1]
        assert hashlib.sha256(bytes_on(short_dir, good)).hexdigest() == good


def send_half(path: Path) -> None:
    connection = NodeConnection(str(path), 10)
    connection.putrequest("PUT", f"/v1/files/{sha256(DATA)}")
    connection.putheader("Content-Length", str(len(DATA)))
    connection.endheaders(DATA[:700_000])
    connection.close()


async def test_half_a_body_leaves_nothing(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path, files=10**9):
        await asyncio.to_thread(send_half, path)
        status, _ = await asyncio.to_thread(ask, path, "PUT", f"/v1/files/{sha256(b'x')}", b"x")
        assert status == 200
    left = [path.name for path in (short_dir / "files").glob("??/*") if path.name.endswith(".new")]
    assert left == []


@pytest.mark.parametrize(
    ("name", "found"), [("a.b", "a.b"), (".hidden", "_.hidden"), ("ü b", "__b"), ("x" * 300, "x" * 255)]
)  # fmt: skip
def test_names_that_records_may_have(name: str, found: str) -> None:
    assert fitting(name) == found
