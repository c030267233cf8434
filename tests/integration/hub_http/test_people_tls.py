"""TLS of the listener for people: who is believed, which versions are spoken, and that a new certificate is read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import text_of
from tests.people_certificates import NAME, certified

from skerry.cli.http import Unreachable, hub_api
from skerry.hub.access_settings import TlsSection
from skerry.hub.trust.people_tls import PeopleTls
from skerry.kit.errors import InvalidInput, Refused
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import RunningHub, running_hub, secure_session
from skerry.wire.people import NodeView

pytestmark = pytest.mark.guarantee("G9")

NODES = "/api/v1/nodes"


@pytest.fixture
def tls(tmp_path: Path) -> TlsSection:
    return certified(tmp_path)


@pytest.fixture
async def secure(tmp_path: Path, tls: TlsSection) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path / "hub", tls=tls) as running:
        yield running


def trusting(tls: TlsSection) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(tls.certificate)
    return context


async def test_people_and_their_commands_speak_tls(
    secure: RunningHub, tls: TlsSection, tmp_path: Path
) -> None:
    assert secure.address.startswith("https://127.0.0.1:")
    async with secure_session(secure.address, trusting(tls)) as client:
        await text_of(client, "GET", NODES, 200, secure.person)
        for host in (NAME, f"{NAME}:8600", "localhost"):
            await text_of(client, "GET", "/healthz", 200, {"Host": host})
        await text_of(client, "GET", "/healthz", 421, {"Host": "evil.example"})
        form = {"token": secure.admin_token}
        async with client.post("/login", data=form, allow_redirects=False) as response:
            assert response.status == 303
            cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
    token = tmp_path / "hub" / "admin.token"
    async with hub_api(secure.address, token, tls.certificate) as hub:
        assert await hub.get(NODES, list[NodeView]) == []
    with pytest.raises(Unreachable, match=r"certificate is not trusted.*login USER --ca-file FILE"):
        async with hub_api(secure.address, token) as hub:
            await hub.get(NODES, list[NodeView])
    with pytest.raises(InvalidInput, match=r"cannot read .*hub.key \(ca_file of the context\)"):
        async with hub_api(secure.address, token, tls.key) as hub:
            await hub.get(NODES, list[NodeView])


async def test_nothing_below_1_3_and_nothing_in_the_clear(
    secure: RunningHub, tls: TlsSection
) -> None:
    older = trusting(tls)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    async with secure_session(secure.address, older) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await text_of(client, "GET", "/healthz", 200)
    plain = secure.address.replace("https", "http")
    async with aiohttp.ClientSession(plain) as client:
        with pytest.raises(aiohttp.ClientError):
            await text_of(client, "GET", "/healthz", 200)


async def test_a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, tls: TlsSection
) -> None:
    clock = ManualClock()
    people = PeopleTls.of(tls, clock)
    served = [await _shown(people)]
    for change in (_broken, certified):
        change(tmp_path)
        assert await _shown(people) == served[-1]
        clock.advance(5.0)
        served.append(await _shown(people))
    assert served[0] == served[1] != served[2]
    tls.key.chmod(0o640)
    clock.advance(5.0)
    assert await _shown(people) == served[2]


def _broken(directory: Path) -> None:
    (directory / "hub.pem").write_text("no certificate")


async def _shown(people: PeopleTls) -> bytes:
    """The certificate that the next connection is shown."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=people.current
    ) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anybody)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return bytes(shown)


def test_what_cannot_be_used_keeps_the_hub_from_starting(tmp_path: Path, tls: TlsSection) -> None:
    other = certified(tmp_path, "other")
    locked = certified(tmp_path, "locked", password=b"secret")
    for certificate, key, words in (
        (tls.certificate, other.key, "must be a certificate .* and its key"),
        (tls.key, tls.key, "must be a certificate"),
        (locked.certificate, locked.key, "without a password"),
        (tmp_path / "none", tls.key, "No such file"),
        (tls.certificate, tmp_path / "none", "No such file"),
    ):
        with pytest.raises(Refused, match=words):
            PeopleTls(certificate, key, ManualClock())
    for mode in (0o640, 0o604, 0o660):
        tls.key.chmod(mode)
        with pytest.raises(Refused, match="others may read it"):
            PeopleTls(tls.certificate, tls.key, ManualClock())
