"""The hub's HTTP: who may use which route, what wrong input gets, what the API says about itself."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import zstandard
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.pushes import Pushes

from skerry.hub import server
from skerry.hub.app import build_app
from skerry.hub.settings import HubSettings, RetentionSection
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.codec import MAX_BODY, compress, decompress, encode
from skerry.wire.people import Apply, Rollback, TokenRequest
from skerry.wire.sync import Enrol, Enrolled, Hello, Pull, PushReply
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

Client = aiohttp.ClientSession

BODIES = {
    ("POST", "/enrol/v1"): Enrol("no-such-token", "b", {}, "0.1.0", "0" * 64),
    ("POST", "/sync/v1/hello"): Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"),
    ("POST", "/sync/v1/push"): Pushes().records("keep", [("a", 1, 1)]),
    ("POST", "/sync/v1/pull"): Pull(None, ""),
    ("POST", "/api/v1/tokens"): TokenRequest(60.0),
    ("PUT", "/api/v1/workloads"): Apply([]),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): Rollback(),
}

# The table of permissions, by hand: method, path as registered, and the answer to nobody, node and person.
# A number is exact; OK means that the guard let it pass.
OK = 0
ROUTES = {
    ("POST", "/enrol/v1"): (OK, OK, OK),
    ("POST", "/sync/v1/hello"): (401, OK, 403),
    ("POST", "/sync/v1/push"): (401, OK, 403),
    ("POST", "/sync/v1/pull"): (401, OK, 403),
    ("GET", "/sync/v1/models"): (401, OK, 403),
    ("WS", "/sync/v1/link"): (403, OK, 403),
    ("GET", "/healthz"): (OK, OK, OK),
    ("GET", "/api/v1/nodes"): (401, 403, OK),
    ("DELETE", "/api/v1/nodes/{name:str}"): (401, 403, OK),
    ("GET", "/api/v1/nodes/{node:str}/logs/{workload:str}"): (401, 403, OK),
    ("POST", "/api/v1/tokens"): (401, 403, OK),
    ("POST", "/api/v1/login-codes"): (401, 403, OK),
    ("GET", "/api/v1/workloads"): (401, 403, OK),
    ("GET", "/api/v1/assignments"): (401, 403, OK),
    ("PUT", "/api/v1/workloads"): (401, 403, OK),
    ("DELETE", "/api/v1/workloads/{name:str}"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/restart"): (401, 403, OK),
    ("GET", "/api/v1/models"): (401, 403, OK),
    ("GET", "/api/v1/backups"): (401, 403, OK),
    ("GET", "/api/v1/storage"): (401, 403, OK),
    ("GET", "/api/v1/entities"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("PUT", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("DELETE", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}/history"): (401, 403, OK),
    ("GET", "/api/v1/conflicts"): (401, 403, OK),
    ("GET", "/api/v1/conflicts/{entity:str}/{id_:str}"): (401, 403, OK),
    ("POST", "/api/v1/conflicts/{entity:str}/{id_:str}/resolve"): (401, 403, OK),
    ("POST", "/sync/v1/rows/pull"): (401, OK, 403),
    ("POST", "/sync/v1/rows/buckets"): (401, OK, 403),
    ("POST", "/sync/v1/rows/wanted"): (401, OK, 403),
    ("GET", "/api/v1/keys"): (401, 403, OK),
    ("POST", "/api/v1/keys/rotate"): (401, 403, 409),
    ("DELETE", "/api/v1/models/{name:str}"): (401, 403, OK),
    ("GET", "/api/v1/blobs/{sha256:str}"): (401, 403, OK),
    ("PUT", "/api/v1/blobs/{sha256:str}"): (401, 403, OK),
    ("GET", "/sync/v1/blobs/{sha256:str}"): (401, OK, 403),
    ("POST", "/sync/v1/files"): (401, OK, 403),
    ("POST", "/sync/v1/files/held"): (401, OK, 403),
    ("GET", "/sync/v1/files/{sha256:str}"): (401, OK, 403),
    ("POST", "/sync/v1/files/{sha256:str}"): (401, OK, 403),
    ("GET", "/api/v1/files"): (401, 403, OK),
    ("GET", "/api/v1/files/{sha256:str}/content"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/pause"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/resume"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/abort"): (401, 403, OK),
    ("GET", "/api/v1/workloads/{name:str}/history"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): (401, 403, OK),
    ("GET", "/api/v1/records"): (401, 403, OK),
    ("GET", "/api/v1/records/export"): (401, 403, OK),
    ("GET", "/api/v1/records/completeness"): (401, 403, OK),
    ("PUT", "/api/v1/stick"): (401, 403, OK),
    ("GET", "/"): (303, 403, OK),
    ("GET", "/live"): (401, 403, OK),
    ("GET", "/login"): (OK, OK, OK),
    ("POST", "/login"): (OK, OK, OK),
    ("POST", "/logout"): (303, 303, 303),
    ("GET", "/schema"): (OK, OK, OK),
    ("GET", "/schema/openapi.json"): (OK, OK, OK),
    ("GET", "/static/{file_path:path}"): (OK, OK, OK),
    ("HEAD", "/static/{file_path:path}"): (OK, OK, OK),
}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


@pytest.fixture
async def node(hub: RunningHub) -> Enrolled:
    return await hub.enrol("a")


@pytest.fixture
async def client(hub: RunningHub) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def settings_for(data_dir: Path, listen: str = "127.0.0.1:0") -> HubSettings:
    return HubSettings(data_dir, listen, None, "test", RetentionSection(1.0, 1.0, 1.0, 1.0))


def filled(path: str) -> str:
    for name, value in (
        ("{node:str}", "a"),
        ("{workload:str}", "w"),
        ("{entity:str}", "recipe"),
        ("{id_:str}", "r"),
        ("{name:str}", "w"),
        ("{file_path:path}", "page.css"),
    ):
        path = path.replace(name, value)
    return path


async def ask(client: Client, method: str, path: str, headers: dict[str, str]) -> int:
    """The status; an endless stream is left after its head."""
    if method == "WS":
        try:
            async with client.ws_connect(path, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status
    body = BODIES.get((method, path))
    async with client.request(
        method,
        filled(path),
        data=None if body is None else encode(body),
        headers=headers,
        allow_redirects=False,
    ) as response:
        return response.status


@pytest.mark.guarantee("G9")
async def test_permissions(hub: RunningHub, node: Enrolled, client: Client) -> None:
    principals = [
        (0, {}),
        (0, {"Authorization": "Bearer wrong"}),
        (0, {"Authorization": f"Bearer {node.node_id}.wrong"}),
        (0, {"Authorization": f"Basic {hub.admin_token}"}),
        (1, hub.node(node)),
        (2, hub.person),
    ]
    wrong = [
        (route, headers, status)
        for route, expected in ROUTES.items()
        for column, headers in principals
        if not is_as_expected(route, expected[column], status := await ask(client, *route, headers))
    ]
    assert wrong == []


def is_as_expected(route: tuple[str, str], expected: int, status: int) -> bool:
    if expected != OK:
        return status == expected
    if route == ("POST", "/login"):  # asked without a token
        return status in {400, 401}
    return status not in {401, 403, 500}


@pytest.mark.guarantee("G9")
async def test_every_registered_route_is_in_the_table(tmp_path: Path) -> None:
    clock = SystemClock()
    store = HubStore(f"sqlite:///{tmp_path}/hub.db", clock)
    store.start()
    try:
        features, _ = await server._build(settings_for(tmp_path), store, clock, "")
        app = build_app(features)
    finally:
        store.stop()
    registered = set()
    for route in app.routes:
        if isinstance(route, WebSocketRoute):
            registered.add(("WS", route.path))
            assert "permission" in route.route_handler.opt
        elif isinstance(route, HTTPRoute):
            registered |= {(method, route.path) for method in route.methods if method != "OPTIONS"}
        else:
            pytest.fail(f"{route.path} is neither HTTP nor WebSocket: the guard would not see it")
    assert registered == set(ROUTES)


@pytest.mark.guarantee("G9")
async def test_a_route_that_declares_no_permission_is_refused(
    hub: RunningHub, client: Client
) -> None:
    # Litestar answers OPTIONS by a handler of its own, which declares nothing.
    async with client.options("/healthz", headers=hub.person) as response:
        assert response.status == 403
        assert "declares no permission" in (await response.json())["error"]


@pytest.mark.guarantee("G9")
async def test_a_browser_session_may_look_and_not_change(hub: RunningHub, client: Client) -> None:
    async with client.post(
        "/login", data={"token": f" {hub.admin_token}\n"}, allow_redirects=False
    ) as response:
        assert response.status == 303
        set_cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=strict" in set_cookie
    cookie = {"Cookie": set_cookie.partition(";")[0]}
    assert await ask(client, "GET", "/api/v1/nodes", cookie) == 200
    assert await ask(client, "POST", "/api/v1/tokens", cookie) == 401
    assert await ask(client, "PUT", "/api/v1/workloads", cookie) == 401
    forged = {"Cookie": cookie["Cookie"].replace("=1", "=2")}
    assert await ask(client, "GET", "/api/v1/nodes", forged) == 401
    assert (await text_of(client, "POST", "/login", 401, data={"token": "x"})).count("<form") == 1


async def test_a_login_code_works_once(hub: RunningHub, client: Client) -> None:
    code = json.loads(await text_of(client, "POST", "/api/v1/login-codes", 200, hub.person))
    async with client.get(code["path"], allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/"
        assert "skerry_" in response.headers["Set-Cookie"]
    assert "used before" in await text_of(client, "GET", code["path"], 401)
    assert hub.admin_token not in code["path"]


async def text_of(
    client: Client,
    method: str,
    path: str,
    status: int,
    headers: dict[str, str] | None = None,
    data: object = None,
) -> str:
    async with client.request(method, path, headers=headers, data=data) as response:
        text = await response.text()
        assert response.status == status, text
        return text


async def problem(
    client: Client,
    method: str,
    path: str,
    status: int,
    headers: dict[str, str],
    data: object = None,
) -> str:
    """The error's words; asserts that it is a Problem and nothing else."""
    body = json.loads(await text_of(client, method, path, status, headers, data))
    assert list(body) == ["error"]
    assert "Traceback" not in body["error"]
    return body["error"]


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
        async with asyncio.timeout(10):
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


async def test_workloads_through_the_api(hub: RunningHub, node: Enrolled, client: Client) -> None:
    spec = WorkloadSpec(
        name="w", process=ProcessSpec(command=["python", "-m", "x"]), on=Selector(node="a")
    )
    path = "/api/v1/workloads"
    await text_of(client, "PUT", path, 200, hub.person, encode(Apply([spec])))
    [view] = json.loads(await text_of(client, "GET", f"{path}?name=w", 200, hub.person))
    assert view["spec"]["name"] == "w"
    assert list(view["nodes"]) == ["a"]
    await text_of(client, "POST", f"{path}/w/restart", 204, hub.person)
    await text_of(client, "DELETE", f"{path}/w", 204, hub.person)
    assert json.loads(await text_of(client, "GET", path, 200, hub.person)) == []


async def test_a_request_is_a_sign_of_life(hub: RunningHub, node: Enrolled, client: Client) -> None:
    before = SystemClock().wall_ns()
    pull = encode(Pull(None, ""))
    await text_of(client, "POST", "/sync/v1/pull", 200, hub.node(node), pull)
    [view] = json.loads(await text_of(client, "GET", "/api/v1/nodes", 200, hub.person))
    assert view["online"]
    assert view["last_seen"] >= before
