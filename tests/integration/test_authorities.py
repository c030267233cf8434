"""Who is trusted at the other end of https, and that nothing is read for it before."""

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from skerry.kit.errors import InvalidInput
from skerry.node.sync.connections import open_session

LOADED = """
import {}
from aiohttp import connector
for context in (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED):
    print(context.cert_store_stats()["x509"])
"""
OF_THE_AGENT = "skerry.node.process"
OF_THE_COMMAND_LINE = "skerry.cli.commands; skerry.cli.commands.application([])"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that signs itself, for localhost, with its key behind it."""
    place = tmp_path_factory.mktemp("certificate")
    both = place / "both.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]  # fmt: skip
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(place / "key.pem"), "-out", str(place / "certificate.pem")]
    subprocess.run(["openssl", *words, *named, *files], check=True, capture_output=True)
    both.write_text((place / "certificate.pem").read_text() + (place / "key.pem").read_text())
    return both


@pytest.fixture
async def address(certificate: Path) -> AsyncIterator[str]:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    identity = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.load_cert_chain(certificate)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=identity)
    await site.start()
    yield f"https://localhost:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_whom_the_system_trusts_is_trusted(
    address: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with open_session() as session, session.get(address) as answer:
        assert await answer.text() == "here"


async def test_so_are_those_of_a_file_of_the_settings(address: str, certificate: Path) -> None:
    async with open_session(ca_file=certificate) as session, session.get(address) as answer:
        assert await answer.text() == "here"


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "No such file or directory"), ("no certificate", "it holds no certificates")],
    ids=["missing", "something else"],
)
async def test_a_file_without_any_stops_the_start(
    tmp_path: Path, content: str | None, cause: str
) -> None:
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=f"{path} .hub.ca_file.: {cause}"):
        open_session(ca_file=path)


async def test_nobody_else_is(address: str) -> None:
    async with open_session() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(address)


@pytest.mark.parametrize("what", [OF_THE_AGENT, OF_THE_COMMAND_LINE], ids=["agent", "commands"])
def test_a_start_reads_no_authorities(certificate: Path, what: str) -> None:
    words = [sys.executable, "-c", LOADED.format(what)]
    trusted = {"SSL_CERT_FILE": str(certificate)}
    assert subprocess.run(words, env=trusted, capture_output=True, check=True).stdout == b"0\n0\n"
