"""Requests to a hub that are wrong, odd or large, and what they get: one sentence, never an error of ours."""

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
import zstandard
from tests.http_client import Client, problem, text_of
from tests.pushes import Pushes

from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import RunningHub
from skerry.wire.codec import MAX_BODY, compress, decompress, encode
from skerry.wire.sync import Enrolled, PushReply


@pytest.mark.parametrize(
    "case",
    [
        ("PUT", "/api/v1/workloads", b'{"workloads": [', 400, "truncated"),
        ("PUT", "/api/v1/workloads", b'{"workloads": 7}', 400, "$.workloads"),
        ("PUT", "/api/v1/workloads", b'{"workloads": [], "prune": "1"}', 400, "$.prune"),
        ("PUT", "/api/v1/workloads", b"\x00\xff\xfe", 400, "malformed"),
        ("PUT", "/api/v1/workloads", b"[" * 100_000, 400, "cannot read"),
        ("PUT", "/api/v1/workloads", None, 400, "no body"),
        ("POST", "/api/v1/tokens", b'{"ttl": "long"}', 400, "$.ttl"),
        ("GET", "/api/v1/records?since=yesterday", None, 400, "since"),
        ("GET", "/api/v1/records?limit=0", None, 400, "limit"),
        ("GET", "/api/v1/records?kind=rumour", None, 400, "kind"),
        ("GET", "/api/v1/records?format=cubes", None, 400, "format"),
        ("GET", "/api/v1/workloads?name=nothing", None, 404, "nothing"),
        ("DELETE", "/api/v1/workloads/nothing", None, 404, "nothing"),
        ("GET", "/api/v1/nodes/nowhere/logs/w", None, 404, "nowhere"),
        ("GET", "/api/v1/nodes/a/logs/w", None, 503, "no live link"),
        ("GET", "/no/such/route", None, 404, "/no/such/route"),
        ("PATCH", "/api/v1/workloads", None, 405, "PATCH"),
        ("GET", "/static/../page.py", None, 404, "cannot"),
        ("GET", "/static/%2e%2e/page.py", None, 404, "cannot"),
    ],
)
async def test_wrong_requests_get_one_sentence(
    hub: RunningHub, node: Enrolled, client: Client, case: tuple[str, str, bytes | None, int, str]
) -> None:
    method, path, body, status, words = case
    assert words in await problem(client, method, path, status, hub.person, body)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/v1/workloads", "GET, OPTIONS, PUT"),
        ("TRACE", "/api/v1/backups", "GET, OPTIONS"),
        ("PUT", "/api/v1/workloads/cam", "DELETE, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    hub: RunningHub, client: Client, method: str, path: str, allowed: str
) -> None:
    async with client.request(method, path, headers=hub.person) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("end", ["since", "until"])
@pytest.mark.parametrize("time", [10**30, -(10**30)])
async def test_times_beyond_what_a_database_holds_are_no_error(
    hub: RunningHub, client: Client, end: str, time: int
) -> None:
    for path in ("records", "records/export", "records/completeness", "files"):
        asked = client.get(f"/api/v1/{path}?{end}={time}", headers=hub.person)
        async with asked as response:
            assert (path, response.status, b"error" in await response.read()) == (path, 200, False)


async def test_large_bodies_are_refused(hub: RunningHub, node: Enrolled, client: Client) -> None:
    fifty = b" " * 50_000_000
    for data, headers in (
        (io.BytesIO(fifty), {}),
        (in_chunks(fifty), {}),
        (compress(fifty), {"Content-Encoding": "zstd"}),  # a bomb: 1.6 kB on the wire
        (io.BytesIO(random.Random(1).randbytes(MAX_BODY + 1)), {"Content-Encoding": "zstd"}),
    ):
        try:
            words = await problem(
                client, "POST", "/sync/v1/push", 413, hub.node(node) | headers, data
            )
        except aiohttp.ClientConnectionError:
            continue  # the hub answered and hung up while we were still sending
        assert "large" in words or "at most" in words
    await text_of(client, "GET", "/healthz", 200)


async def in_chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


@pytest.mark.parametrize(
    "case",
    [
        ("zstd", b"not zstd", "cannot read"),
        ("zstd", compress(b"x" * 5000)[:-20], "cannot read"),
        ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(b"{}"), "size"),
        ("gzip", b"\x1f\x8b", "gzip"),
    ],
)
async def test_wrong_encodings(
    hub: RunningHub, node: Enrolled, client: Client, case: tuple[str, bytes, str]
) -> None:
    encoding, body, words = case
    headers = hub.node(node) | {"Content-Encoding": encoding}
    assert words in await problem(client, "POST", "/sync/v1/push", 400, headers, body)


async def test_garbage_on_the_port_harms_nobody(hub: RunningHub, client: Client) -> None:
    host, _, port = hub.address.removeprefix("http://").partition(":")
    for seed in range(20):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(random.Random(seed).randbytes(4096))
        writer.write_eof()
        async with asyncio.timeout(30):
            await reader.read()
        writer.close()
    await text_of(client, "GET", "/healthz", 200)


async def test_a_compressed_push_is_stored_and_a_large_reply_is_compressed(
    hub: RunningHub, node: Enrolled, client: Client
) -> None:
    now = SystemClock().wall_ns()
    unit = Pushes().records("keep", [("host.cpu.percent", now + n, n / 2) for n in range(200)])
    headers = hub.node(node) | {"Content-Encoding": "zstd"}
    reply = await text_of(client, "POST", "/sync/v1/push", 200, headers, compress(encode(unit)))
    assert msgspec.json.decode(reply, type=PushReply).point.n == 200

    path = "/api/v1/records?name=host.*&limit=150"
    plain = await text_of(client, "GET", path, 200, hub.person)
    async with (
        aiohttp.ClientSession(hub.address, auto_decompress=False) as raw,
        raw.get(path, headers=hub.person | {"Accept-Encoding": "zstd"}) as response,
    ):
        assert response.headers["Content-Encoding"] == "zstd"
        body = await response.read()
    assert decompress(body, "reply").decode() == plain
    assert len(body) < len(plain) / 3
    rows = json.loads(plain)
    assert rows["truncated"]
    assert [row["value"] for row in rows["rows"]] == [n / 2 for n in range(50, 200)]

    columns = json.loads(await text_of(client, "GET", f"{path}&format=columns", 200, hub.person))
    assert columns["truncated"]
    values = [value for series in columns["series"] for value in series["value"]]
    assert sorted(values) == [n / 2 for n in range(50, 200)]
