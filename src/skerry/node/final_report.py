"""The last thing that a node does: erases itself, and brings its hub the certificate, for as long as that takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import aiohttp
import msgspec

from skerry.kit.authorities import authorities_of
from skerry.kit.backoff import Backoff
from skerry.kit.clock import BUILD_TIME_NS
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.file_lock import Held
from skerry.kit.service_manager import prove_life
from skerry.node.erasing import erase
from skerry.node.host import Host
from skerry.node.node_settings import NodeSettings
from skerry.node.retirement import (
    Certificate,
    last_words,
    read_certificate,
    read_mark,
    write_certificate,
)
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import exchange, read_answer
from skerry.wire.codec import encode
from skerry.wire.devices import NOT_TAKEN, ErasureTaken

UNREACHED = Backoff(first=1.0, cap=30.0)


def finish(settings: NodeSettings, host: Host, left: Sequence[str] = ()) -> int:
    """Erases what is left, tells the hub until it has heard, and returns the process's exit code.

    `left` is what is known to stay, for people. 0: nothing is left to do, so nobody should start it again; 1: another
    process works in the directory.
    """
    host.manager.ready()
    try:
        asyncio.run(_finish(settings, host, left))
    except Held as error:
        sys.stderr.write(
            f"skerry: cannot erase {settings.data_dir}: process {error.holder} works in it\n"
        )
        return 1
    sys.stderr.write(f"skerry: {last_words(settings.data_dir)}\n")
    return 0


async def _finish(settings: NodeSettings, host: Host, left: Sequence[str]) -> None:
    alive = asyncio.create_task(prove_life(host.manager, host.clock, _at_once))
    try:
        mark = read_mark(settings.data_dir)
        if mark is None:
            certificate = read_certificate(settings.data_dir)
        else:
            mark = msgspec.structs.replace(mark, left=[*mark.left, *left])
            certificate = await asyncio.to_thread(erase, settings, mark, host.disk, host.clock)
        if certificate is not None and not certificate.taken:
            await _deliver(settings, host, certificate)
    finally:
        alive.cancel()


async def _at_once() -> None:
    """Lives as long as the loop turns: a disk or a hub may take its time."""


async def _deliver(settings: NodeSettings, host: Host, certificate: Certificate) -> None:
    """Returns when a hub has the certificate, or every address has a hub that will never take it."""
    failures = 0
    heard: set[str] = set()
    async with _session(settings, certificate) as session:
        while True:
            refusals = 0
            for hub in certificate.hubs:
                try:
                    await _tell(session, hub, settings, certificate)
                except SkerryError as error:
                    words = str(error)
                    refusals += words.startswith(NOT_TAKEN)
                    if words not in heard and not isinstance(error, Transient):
                        sys.stderr.write(f"skerry: {words}\n")
                        heard.add(words)
                    continue
                taken = msgspec.structs.replace(certificate, taken=True)
                write_certificate(settings.data_dir, host.disk, taken)
                return
            if refusals == len(certificate.hubs):
                return
            await host.clock.sleep(UNREACHED.delay(failures, host.chance))
            failures += 1


async def _tell(
    session: aiohttp.ClientSession, hub: str, settings: NodeSettings, certificate: Certificate
) -> None:
    url, report = f"{hub}/enrol/v1/erased", encode(certificate.report)
    answer = await exchange(
        session, url, report, {}, what="report the erasure", proxies=settings.proxies
    )
    read_answer(answer, ErasureTaken, "the report of the erasure")


def _session(settings: NodeSettings, certificate: Certificate) -> aiohttp.ClientSession:
    """Believes whom the node believed."""
    if not certificate.roots:
        path = settings.hub.ca_file
        if not certificate.authorities and path is not None and path.exists():
            return open_session(ca_file=path)  # an agent of before has not noted them
        return open_session(tls=authorities_of(certificate.authorities))
    from skerry.node.trust.tls import HubContext  # noqa: PLC0415 - only where there are certificates

    return open_session(tls=HubContext.of(certificate.roots, floor=lambda: BUILD_TIME_NS))
