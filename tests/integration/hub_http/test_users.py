"""Users over HTTP: signing in and out, what ends a session, and that no other page signs a browser in or out."""

from __future__ import annotations

import json
import logging
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.canary import everything
from tests.http_client import Client, problem, text_of
from tests.people_certificates import certified

from skerry.hub.settings import AccessSection
from skerry.hub.trust.ssh_keys import public_line
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import RunningHub, running_hub, secure_session
from skerry.testing.shifted_clock import ShiftedClock
from skerry.wire.access import PasswordChange, SignedIn, SignIn, UserChange, UserRequest
from skerry.wire.codec import decode, encode
from skerry.wire.ssh import SshCertificateRequest, SshNode

pytestmark = pytest.mark.guarantee("G9")

USERS = "/api/v1/access/users"
NODES = "/api/v1/nodes"
PASSWORD = "correct horse battery"

Headers = dict[str, str]


async def user(client: Client, hub: RunningHub, name: str = "ann", role: str = "operator") -> None:
    body = encode(UserRequest(name, role, PASSWORD))
    await text_of(client, "POST", USERS, 200, hub.person, body)


async def change(client: Client, hub: RunningHub, asked: UserChange, name: str = "ann") -> None:
    await text_of(client, "PATCH", f"{USERS}/{name}", 200, hub.person, encode(asked))


async def signed_in(client: Client, ttl: float | None = None) -> Headers:
    text = await text_of(
        client, "POST", "/api/v1/sign-in", 200, data=encode(SignIn("ann", PASSWORD, ttl))
    )
    made = decode(text.encode(), SignedIn, "made")
    return {"Authorization": f"Bearer {made.token}"}


async def in_a_browser(
    client: Client, headers: Headers | None = None, **form: str
) -> tuple[int, str]:
    """The status of the login form's answer, and the cookie that it sets."""
    form = form or {"user": "ann", "password": PASSWORD}
    async with client.post("/login", data=form, headers=headers, allow_redirects=False) as response:
        return response.status, response.headers.get("Set-Cookie", "")


async def test_a_password_gets_a_token_with_the_users_role(hub: RunningHub, client: Client) -> None:
    await user(client, hub)
    token = await signed_in(client)
    await text_of(client, "GET", NODES, 200, token)
    await problem(client, "POST", "/api/v1/workloads/w/restart", 404, token)
    assert "«ann» (role operator): it needs permission configure" in await problem(
        client, "GET", USERS, 403, token
    )
    await text_of(client, "POST", "/api/v1/sign-out", 204, token)
    await problem(client, "GET", NODES, 401, token)
    api_token = await hub.access_token("ci", "monitor")
    for other in (api_token, hub.person):
        assert "access token revoke" in await problem(
            client, "POST", "/api/v1/sign-out", 409, other
        )


async def test_a_token_lasts_as_long_as_the_hub_allows(hub: RunningHub, client: Client) -> None:
    await user(client, hub)
    for ttl in (0.5, 86_401.0, -1.0):
        body = encode(SignIn("ann", PASSWORD, ttl))
        assert "token_expiry" in await problem(client, "POST", "/api/v1/sign-in", 400, {}, body)
    text = await text_of(
        client, "POST", "/api/v1/sign-in", 200, data=encode(SignIn("ann", PASSWORD))
    )
    listed = await text_of(client, "GET", USERS, 200, hub.person)
    [view] = json.loads(listed)
    assert json.loads(text)["expires_at"] - view["created_at"] >= 86_400 * 10**9
    assert "argon" not in listed


async def test_what_changes_of_a_user_ends_tokens_and_sessions_at_the_next_request(
    hub: RunningHub, client: Client
) -> None:
    await user(client, hub)
    for asked in (UserChange(role="monitor"), UserChange(enabled=False)):
        token = await signed_in(client)
        status, cookie = await in_a_browser(client)
        assert status == 303
        browser = {"Cookie": cookie.partition(";")[0]}
        for headers in (token, browser):
            await text_of(client, "GET", NODES, 200, headers)
        await change(client, hub, asked)
        for headers in (token, browser):
            await text_of(client, "GET", NODES, 401, headers)
    assert (await in_a_browser(client))[0] == 401
    await text_of(client, "DELETE", f"{USERS}/ann", 200, hub.person)
    assert (await in_a_browser(client))[0] == 401


async def test_a_user_changes_the_own_password(hub: RunningHub, client: Client) -> None:
    await user(client, hub)
    token, another = await signed_in(client), "staple correct horse"

    def asked(password: str, new: str) -> bytes:
        return encode(PasswordChange("ann", password, new))

    path = "/api/v1/password"
    assert "less than 12" in await problem(client, "POST", path, 400, {}, asked(PASSWORD, "short"))
    await problem(client, "POST", path, 401, {}, asked("wrong", another))
    await text_of(client, "GET", NODES, 200, token)
    await text_of(client, "POST", path, 204, data=asked(PASSWORD, another))
    await text_of(client, "GET", NODES, 401, token)
    assert (await in_a_browser(client))[0] == 401
    assert (await in_a_browser(client, user="ann", password=another))[0] == 303
    log = await text_of(client, "GET", "/api/v1/audit", 200, hub.person)
    assert "for another password" in log


async def test_a_session_is_ended_by_signing_out(hub: RunningHub, client: Client) -> None:
    await user(client, hub)
    _, cookie = await in_a_browser(client)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert "Max-Age=86400" in cookie
    browser = {"Cookie": cookie.partition(";")[0]}
    await text_of(client, "GET", NODES, 200, browser)
    async with client.post("/logout", headers=browser, allow_redirects=False) as response:
        assert response.status == 303
    await text_of(client, "GET", NODES, 401, browser)


async def test_cookies_are_for_https_where_the_browser_speaks_it(
    tmp_path: Path,
) -> None:
    async with (
        running_hub(tmp_path, hosts="edge.example") as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        await user(client, hub)
        said = {"Host": "edge.example", "Origin": "https://edge.example"}
        status, cookie = await in_a_browser(client, said)
        assert status == 303
        assert cookie.startswith("__Host-skerry_")
        for word in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert "Domain" not in cookie
        await text_of(client, "GET", NODES, 200, {"Cookie": cookie.partition(";")[0]})


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
)


async def test_no_other_page_signs_a_browser_in_or_out_or_changes_anything(
    hub: RunningHub, client: Client
) -> None:
    await user(client, hub)
    _, cookie = await in_a_browser(client)
    browser = {"Cookie": cookie.partition(";")[0]}
    for foreign in FOREIGN:
        status, set_cookie = await in_a_browser(client, foreign)
        assert (status, set_cookie) == (403, "")
        said = browser | foreign
        for method, path, body in (
            ("POST", "/logout", b""),
            ("POST", "/api/v1/sign-in", encode(SignIn("ann", PASSWORD))),
            ("POST", "/api/v1/sign-out", b""),
            ("POST", "/api/v1/workloads/w/restart", b""),
            ("DELETE", "/api/v1/nodes/a", b""),
        ):
            words = await problem(client, method, path, 403, said, body)
            assert "a page of another origin asked for it" in words
        await text_of(client, "GET", NODES, 200, browser)
    own = {"Origin": hub.address, "Sec-Fetch-Site": "same-origin"}
    assert (await in_a_browser(client, own))[0] == 303
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert (await in_a_browser(client, rebound))[0] == 421


async def test_a_link_on_another_page_signs_nobody_in_by_itself(
    hub: RunningHub, client: Client
) -> None:
    text = await text_of(client, "POST", "/api/v1/login-codes", 200, hub.person)
    path = json.loads(text)["path"]
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        async with client.get(path, headers=foreign, allow_redirects=False) as response:
            assert response.status == 200
            assert "Set-Cookie" not in response.headers
            assert "Go on only if you have asked for it" in await response.text()
    code = path.partition("=")[2]
    status, cookie = await in_a_browser(client, {"Sec-Fetch-Site": "same-origin"}, code=code)
    assert status == 303
    await text_of(client, "GET", NODES, 200, {"Cookie": cookie.partition(";")[0]})
    assert (await in_a_browser(client, None, code=code))[0] == 401


async def test_too_many_wrong_passwords_are_refused_told_and_keep_no_token_out(
    hub: RunningHub, client: Client
) -> None:
    await user(client, hub)
    wrong = encode(SignIn("ann", "wrong"))
    for _ in range(5):
        async with client.post("/api/v1/sign-in", data=wrong) as response:
            last = response.status, response.headers.get("Retry-After")
    assert last == (429, "2")
    async with client.post(
        "/login", data={"user": "ann", "password": PASSWORD}, allow_redirects=False
    ) as response:
        assert response.status in {429, 303}  # two seconds are soon over
    status, _ = await in_a_browser(client, token=hub.admin_token)
    assert status == 303
    log = json.loads(await text_of(client, "GET", "/api/v1/audit", 200, hub.person))
    entries = [row["entry"] for row in log["entries"] if row["entry"]["action"] == "sign_in"]
    told = [(each["status"], each["detail"]) for each in entries if each["outcome"] == "refused"]
    assert told[:2] == [(401, "as «ann»"), (429, "as «ann», locked from now on")]
    assert PASSWORD not in json.dumps(log)


class Standing(SystemClock):
    """No wall time passes: who is locked out stays so."""

    def __init__(self) -> None:
        super().__init__()
        self._now = super().wall_ns()

    def wall_ns(self) -> int:
        return self._now


@pytest.mark.parametrize("proxies", [None, "10.9.9.9, 127.0.0.0/8"])
async def test_who_is_behind_a_proxy_is_known_where_the_proxy_is(
    tmp_path: Path, proxies: str | None
) -> None:
    """What others write into the header before the proxy does counts for nothing."""

    async def tries(client: Client, address: str, password: str) -> int:
        said = {"X-Forwarded-For": address}
        body = encode(SignIn("ann", password))
        async with client.post("/api/v1/sign-in", data=body, headers=said) as response:
            return response.status

    access = AccessSection(proxies=proxies)
    async with (
        running_hub(tmp_path, access=access, clock=Standing()) as hub,
        aiohttp.ClientSession(hub.address) as client,
    ):
        await user(client, hub)
        wrong = [await tries(client, f"192.0.2.{n}, 198.51.100.1", "wrong") for n in range(5)]
        assert wrong == [401] * 4 + [429]
        assert await tries(client, "198.51.100.2", PASSWORD) == (200 if proxies else 429)
        log = json.loads(await text_of(client, "GET", "/api/v1/audit", 200, hub.person))
        refused = [row["entry"] for row in log["entries"] if row["entry"]["outcome"] == "refused"]
        origins = {each["origin"] for each in refused}
        assert origins == ({"198.51.100.1"} if proxies else {"127.0.0.1"})


async def test_a_proxy_by_ipv4_is_known_where_the_hub_listens_by_ipv6(tmp_path: Path) -> None:
    """At [::] its address is another one, ::ffff:127.0.0.1."""
    tls, access = certified(tmp_path), AccessSection(proxies="127.0.0.1")
    trusting = ssl.create_default_context(cafile=tls.certificate)
    async with running_hub(tmp_path / "hub", access=access, tls=tls, listen="[::]:0") as hub:
        address = f"https://127.0.0.1:{urlsplit(hub.address).port}"
        async with secure_session(address, trusting) as client:
            said, body = {"X-Forwarded-For": "198.51.100.1"}, encode(SignIn("ann", "wrong"))
            async with client.post("/api/v1/sign-in", data=body, headers=said) as response:
                assert response.status == 401
            log = json.loads(await text_of(client, "GET", "/api/v1/audit", 200, hub.person))
    [refused] = [row["entry"] for row in log["entries"] if row["entry"]["outcome"] == "refused"]
    assert refused["origin"] == "198.51.100.1"


@pytest.mark.guarantee("G10")
async def test_passwords_are_in_no_log_and_in_no_file_of_the_hub(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as client:
        await user(client, hub)
        token = await signed_in(client)
        await in_a_browser(client)
        typed = encode(SignIn("ann", f"{PASSWORD}-typo"))
        await problem(client, "POST", "/api/v1/sign-in", 401, {}, typed)
        broken = typed[:-1]
        assert PASSWORD not in await problem(client, "POST", "/api/v1/sign-in", 400, {}, broken)
        mistaken = encode(SignIn(PASSWORD, "ann"))
        await problem(client, "POST", "/api/v1/sign-in", 401, {}, mistaken)
    secret = token["Authorization"].rpartition("skt_")[2]
    for text in (PASSWORD, secret):
        assert text.encode() not in everything(tmp_path)
        assert text not in caplog.text
        assert text not in repr([record.args for record in caplog.records])


@pytest.mark.parametrize("way", ["code", "form"])
async def test_a_browsers_session_ends_with_the_token_that_it_comes_of(
    tmp_path: Path, way: str
) -> None:
    clock = ShiftedClock()
    async with (
        running_hub(tmp_path, clock=clock) as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        await user(client, hub)
        tokens = [await signed_in(client), await signed_in(client, 60.0)]
        cookies = []
        for token in tokens:
            if way == "code":
                made = json.loads(await text_of(client, "POST", "/api/v1/login-codes", 200, token))
                async with client.get(made["path"], allow_redirects=False) as response:
                    cookie = response.headers["Set-Cookie"]
            else:
                secret = token["Authorization"].removeprefix("Bearer ")
                _, cookie = await in_a_browser(client, token=secret)
            cookies.append({"Cookie": cookie.partition(";")[0]})
        for each in cookies:
            await text_of(client, "GET", NODES, 200, each)
        await text_of(client, "POST", "/api/v1/sign-out", 204, tokens[0])
        await problem(client, "GET", NODES, 401, cookies[0])
        clock.ahead = 60.0
        await problem(client, "GET", NODES, 401, cookies[1])


async def ssh_states(client: Client, hub: RunningHub) -> list[str]:
    text = await text_of(client, "GET", "/api/v1/access/ssh", 200, hub.person)
    return [each["state"] for each in json.loads(text)]


async def ssh_certificate(client: Client, token: Headers) -> None:
    asked = encode(SshCertificateRequest(ssh_key()))
    await text_of(client, "POST", f"{NODES}/a/ssh-certificates", 200, token, asked)


def ssh_key() -> str:
    return public_line(Ed25519PrivateKey.generate())


async def test_whatever_ends_a_users_sessions_ends_its_ssh_certificates(
    hub: RunningHub, client: Client
) -> None:
    node = await hub.enrol("a")
    told = encode(SshNode("root", 22, ssh_key(), "/usr/bin/skerry node limited", "", False))
    await text_of(client, "POST", "/sync/v1/ssh", 200, hub.node(node), told)
    await user(client, hub)
    for asked in (UserChange(role="admin"), UserChange(password=PASSWORD)):
        await ssh_certificate(client, await signed_in(client))
        await change(client, hub, asked)
        assert set(await ssh_states(client, hub)) == {"revoked"}
    await ssh_certificate(client, await signed_in(client))
    renewal = encode(PasswordChange("ann", PASSWORD, PASSWORD))
    await text_of(client, "POST", "/api/v1/password", 204, data=renewal)
    assert set(await ssh_states(client, hub)) == {"revoked"}
    for method, data in (("PATCH", encode(UserChange(enabled=False))), ("DELETE", None)):
        await change(client, hub, UserChange(enabled=True))
        await ssh_certificate(client, await signed_in(client))
        await text_of(client, method, f"{USERS}/ann", 200, hub.person, data)
        assert set(await ssh_states(client, hub)) == {"revoked"}
