"""Opens envelopes with the node's key: in a process of its own, because «cryptography» costs 9 MB for ever."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from skerry.kit.errors import Transient
from skerry.wire.codec import decode, encode

_LONGEST = 60.0
"""Seconds; a device that is just booting is slow."""


class Order(msgspec.Struct, frozen=True):
    """What to open: (purpose, envelope). Without a `private` key one is made first."""

    private: bytes
    sealed: list[tuple[bytes, bytes]] = []

    def __repr__(self) -> str:
        return f"Order({len(self.sealed)})"


class Answer(msgspec.Struct, frozen=True):
    """The key, and the values in the order of their envelopes; None: that one does not open."""

    private: bytes
    public: bytes
    values: list[bytes | None]

    def __repr__(self) -> str:
        return f"Answer({len(self.values)})"


async def in_child(order: Order) -> Answer:
    """Key and values travel by pipes. Raises Transient."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "skerry.node.secrets"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            said, complained = await process.communicate(encode(order))
    except TimeoutError as error:
        raise Transient(f"cannot open secrets: it took more than {_LONGEST:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = complained.decode(errors="replace").strip().splitlines()
        cause = words[-1] if words else f"code {process.returncode}"
        raise Transient(f"cannot open secrets: the process that does it failed: {cause}")
    return decode(said, Answer, "answer about secrets")


async def in_this_process(order: Order) -> Answer:
    """For a node that has loaded «cryptography» anyway, because it encrypts."""
    from skerry.node.secrets.envelope_work import carry_out  # noqa: PLC0415 - see above

    return await asyncio.to_thread(carry_out, order)
