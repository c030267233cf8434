"""Whom a node believes to be its hub: real handshakes with servers of every kind."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.trust_rig import CLIENT, DAY, NOW, Authority, server_context

from skerry.kit.clock import BUILD_TIME_NS, NS
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.trust.tls import HubContext, unverified, verified_chain

OURS = Authority()


@asynccontextmanager
async def served(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port where what is said is said back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def talk(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"hello\n")
        return await reader.readline()
    finally:
        writer.close()


async def met(
    server: ssl.SSLContext, *, roots: str = OURS.root, floor: int = BUILD_TIME_NS
) -> bytes:
    async with served(server) as port:
        return await talk(port, HubContext.of(roots, floor=lambda: floor))


def hub(authority: Authority = OURS, **dates: float) -> ssl.SSLContext:
    return server_context(authority.server(**dates), authority.root)


async def test_a_hub_of_our_root_is_believed_whatever_the_clock_says() -> None:
    """The certificate begins in 2027 and ends in the same year: for this machine's clock it does not hold."""
    assert await met(hub()) == b"hello\n"
    assert await met(hub(begins=NOW + 3650 * DAY)) == b"hello\n"


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(
    ("server", "cause"),
    [
        (hub(Authority("fleet")), "unable to get|self.signed|certificate signature failure"),
        (server_context(OURS.server(CLIENT), OURS.root), "unsuitable certificate purpose"),
        (server_context(OURS.server(None), OURS.root), "its certificate is not a hub's"),
    ],
    ids=["another root of the same name", "a node's certificate", "a certificate for nothing"],
)
async def test_whoever_else_answers_is_not_the_hub(server: ssl.SSLContext, cause: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=cause):
        await met(server)


@pytest.mark.guarantee("G9")
async def test_no_version_below_1_3() -> None:
    async with served(server_context(OURS.server(), OURS.root, ssl.TLSVersion.TLSv1_2)) as port:
        with pytest.raises(OSError):  # noqa: PT011 - the server's alert, or that it hangs up
            await talk(port, HubContext.of(OURS.root, floor=lambda: BUILD_TIME_NS))
        anybody = unverified()
        anybody.minimum_version = ssl.TLSVersion.TLSv1_2
        assert await talk(port, anybody) == b"hello\n"


@pytest.mark.guarantee("G9")
async def test_a_chain_that_ended_before_a_time_that_has_surely_passed_is_not_believed() -> None:
    day = DAY * NS
    end = (NOW - 300 + 30 * DAY) * NS
    server = hub(life=30 * DAY)
    assert await met(server, floor=end - day) == b"hello\n"
    with pytest.raises(ssl.SSLCertVerificationError, match="its certificate ended at 2027-02-"):
        await met(server, floor=end)
    short = Authority("short", days=2)
    with pytest.raises(ssl.SSLCertVerificationError, match="ended at 2027-01-17"):
        await met(hub(short, life=30 * DAY), roots=short.root, floor=end - day)


async def test_new_trust_counts_from_the_next_connection_on_and_cuts_none() -> None:
    theirs, floor = Authority("next"), lambda: BUILD_TIME_NS
    context = HubContext.of(OURS.root, floor=floor)
    async with served(hub()) as old, served(hub(theirs)) as new:
        reader, writer = await asyncio.open_connection("127.0.0.1", old, ssl=context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await talk(new, context)
        context.reload(OURS.root + theirs.root)
        assert await talk(new, context) == b"hello\n"
        context.reload(theirs.root)
        with pytest.raises(ssl.SSLCertVerificationError):
            await talk(old, context)
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()


def test_what_cannot_be_used_changes_nothing() -> None:
    with pytest.raises(InvalidInput, match="cannot use the fleet's roots"):
        HubContext.of(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", floor=lambda: 0
        )
    mixed = OURS.server().partition(b"-----BEGIN CERT")[0] + OURS.leaf_of_another().encode()
    with pytest.raises(
        Refused, match="cannot use this node's key and certificate: KEY_VALUES_MISMATCH"
    ):
        HubContext.of(OURS.root, mixed, floor=lambda: 0)


async def test_without_roots_nobody_is_believed() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await met(hub(), roots="")


async def test_the_verified_chain_is_found_by_the_public_way_where_there_is_one() -> None:
    class Newer(ssl.SSLObject):
        def get_verified_chain(self) -> list[bytes]:
            return [b"public"]

    assert verified_chain(Newer.__new__(Newer)) == [b"public"]
    async with served(hub()) as port:
        assert await talk(port, unverified()) == b"hello\n"
