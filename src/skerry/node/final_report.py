"""The last thing that a node does: erases itself, and brings its hub the certificate, for as long as that takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import aiohttp
import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.clock import BUILD_TIME_NS
from skerry.kit.errors import SkerryError, Transient
from skerry.kit.file_lock import Held
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
from skerry.node.sync.uplink import exchange, open_session, read_answer
from skerry.wire.codec import encode
from skerry.wire.devices import ErasureTaken

UNREACHED = Backoff(first=1.0, cap=30.0)


def is_over(settings: NodeSettings) -> bool:
    """Whether the node that was in this directory is out of service, and nothing but erasing and telling is left to do."""
    mark = read_mark(settings.data_dir)
    if mark is not None:
        return mark.phase == "erasing"
    return read_certificate(settings.data_dir) is not None


def finish(settings: NodeSettings, host: Host, left: Sequence[str] = ()) -> int:
    """Erases what is left, tells the hub until it has heard, and returns the process's exit code.

    `left` is what is known to stay, for people. 0: this process has erased it; 1: an earlier one had.
    """
    mark = read_mark(settings.data_dir)
    if mark is not None:
        mark = msgspec.structs.replace(mark, left=[*mark.left, *left])
        try:
            certificate: Certificate | None = erase(settings, mark, host.disk, host.clock)
        except Held as error:
            sys.stderr.write(
                f"skerry: cannot erase {settings.data_dir}: process {error.holder} works in it\n"
            )
            return 1
    else:
        certificate = read_certificate(settings.data_dir)
    if certificate is not None and not certificate.taken:
        asyncio.run(_deliver(settings, host, certificate))
    sys.stderr.write(f"skerry: {last_words(settings.data_dir)}\n")
    return 1 if mark is None else 0


async def _deliver(settings: NodeSettings, host: Host, certificate: Certificate) -> None:
    """Returns when a hub has the certificate, or does not want it."""
    failures = 0
    async with _session(settings, certificate) as session:
        while True:
            for hub in certificate.hubs:
                url = f"{hub}/enrol/v1/erased"
                try:
                    answer = await exchange(
                        session,
                        url,
                        encode(certificate.report),
                        {},
                        what="report the erasure",
                        proxies=settings.proxies,
                    )
                    read_answer(answer, ErasureTaken, "the report of the erasure")
                except Transient:
                    continue
                except SkerryError as error:
                    sys.stderr.write(f"skerry: {error}\n")
                    return
                taken = msgspec.structs.replace(certificate, taken=True)
                write_certificate(settings.data_dir, host.disk, taken)
                return
            await host.clock.sleep(UNREACHED.delay(failures, host.chance))
            failures += 1


def _session(settings: NodeSettings, certificate: Certificate) -> aiohttp.ClientSession:
    """Believes whom the node believed."""
    if not certificate.roots:
        return open_session(ca_file=settings.hub.ca_file)
    from skerry.node.trust.tls import HubContext  # noqa: PLC0415 - only where there are certificates

    return open_session(tls=HubContext.of(certificate.roots, floor=lambda: BUILD_TIME_NS))
