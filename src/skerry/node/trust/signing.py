"""Has a message signed by `sign`, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

from skerry.kit.errors import Refused
from skerry.kit.one_line import one_line

_MODULE = "skerry.node.trust.sign"


async def signature_by(key: bytes, message: bytes) -> tuple[str, str]:
    """The public key and the signature, both in base64; `key` (PEM) passes through a pipe. Raises Refused."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", _MODULE, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    made, said = await child.communicate(key + b"\0" + message)
    if child.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise Refused(f"cannot sign by this node's key: {one_line(last)}")
    public, signature = made.decode("ascii").split()
    return public, signature
