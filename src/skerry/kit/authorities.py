"""Certificate authorities of the system, read with the first TLS connection instead of at every start.

aiohttp makes two TLS contexts when it is imported, and each reads all authorities. Where the system has them in one
file, that is a tenth of a second of the agent's start and 1.7 MB for ever, and a node whose hub speaks plain HTTP
uses none of it. `skerry.node.process` and `skerry.cli.commands` import within `unread`; who connects uses `Authorities`.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from skerry.kit.errors import InvalidInput

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Authorities(ssl.SSLContext):
    """Verifies servers as `ssl.create_default_context` does. Make it by `authorities`."""

    _read = False

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begins a connection: asyncio calls this."""
        if not self._read:
            self.load_default_certs()
            self._read = True
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def authorities(own: Path | None = None, setting: str = "hub.ca_file") -> Authorities:
    """For the client's side of HTTP; of the system's, nothing is read yet.

    `own` is a PEM file with further authorities, as `setting` says. Raises InvalidInput when it is none.
    """
    context = Authorities(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if own is not None:
        try:
            context.load_verify_locations(own)
        except OSError as error:
            cause = (
                "it holds no certificates in PEM form"
                if isinstance(error, ssl.SSLError)
                else error.strerror
            )
            raise InvalidInput(f"cannot read {own} ({setting}): {cause}") from error
    return context


def authorities_of(own: str) -> Authorities:
    """As `authorities`, with those of a text (`certificates_of`) besides; empty: with none."""
    context = authorities()
    if own:
        context.load_verify_locations(cadata=own)
    return context


def certificates_of(path: Path | None) -> str:
    """The certificates of a PEM file and nothing else of it; empty without a file. Raises OSError."""
    if path is None:
        return ""
    return "\n".join(_CERTIFICATE.findall(path.read_text(errors="replace")))


@contextlib.contextmanager
def unread() -> Iterator[None]:
    """TLS contexts that are made meanwhile trust nobody, whatever default they ask for."""
    read = ssl.SSLContext.set_default_verify_paths
    ssl.SSLContext.set_default_verify_paths = _trust_nobody  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        ssl.SSLContext.set_default_verify_paths = read  # type: ignore[method-assign]


def _trust_nobody(_context: ssl.SSLContext) -> None:
    pass
