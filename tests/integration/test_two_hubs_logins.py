"""Logins through one hub process, and what happens at another one of the same database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.http_client import text_of
from tests.postgres import Postgres
from tests.tunnel_rig import linked, links, opened, serving

from skerry.hub.settings import AccessSection
from skerry.hub.trust.ssh_keys import public_line
from skerry.testing.running_hub import running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.ssh import SshCertificateRequest, SshNode, SshRevoke

pytestmark = [pytest.mark.postgres, pytest.mark.guarantee("G9")]


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    with postgres.database() as address:
        yield address


async def test_a_login_through_one_hub_ends_when_its_certificate_is_revoked_at_the_other(
    tmp_path: Path, url: str
) -> None:
    """Each hub looks every second. The one that holds the link carries it in the administrator's name, not in hers."""
    access = AccessSection(tunnel_idle=4.0, tunnel_duration=600.0)
    async with (
        running_hub(tmp_path, database=url, access=access) as first,
        running_hub(tmp_path, database=url, access=access) as second,
        aiohttp.ClientSession(first.address) as one,
        aiohttp.ClientSession(second.address) as other,
        serving(chatter) as port,
    ):
        node = await first.enrol("a")
        ann = await first.access_token("ann", "operator")
        told = encode(SshNode("dev", port, a_key(), "skerry node limited"))
        await text_of(one, "POST", "/sync/v1/ssh", 200, first.node(node), told)
        path, asked = "/api/v1/nodes/a/ssh-certificates", encode(SshCertificateRequest(a_key()))
        for headers in (ann, first.person):
            await text_of(one, "POST", path, 200, headers, asked)
        async with linked(first, node, [port]):
            await eventually(lambda: links(url) == 1, "the link is known")
            async with opened(other, ann, port) as person:

                async def revoke(serial: int) -> None:
                    wanted = encode(SshRevoke(serial=serial))
                    revoking = "/api/v1/access/ssh/revoke"
                    await text_of(one, "POST", revoking, 200, first.person, wanted)

                await revoke(2)
                for _ in range(30):  # three seconds of chatter
                    assert await person.read(1) == b"."
                await revoke(1)
                async with asyncio.timeout(60):
                    assert set(await person.rest()) <= {ord(".")}
                assert "SSH certificate of «ann» for this node was revoked" in str(person.words)


async def chatter(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.1)


def a_key() -> str:
    return public_line(Ed25519PrivateKey.generate())
