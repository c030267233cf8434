"""Has a key made by `keys`, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE

from skerry.kit.errors import Refused
from skerry.kit.one_line import one_line
from skerry.node.node_settings import KeyKind

_MODULE = "skerry.node.trust.keys"


async def new_key(kind: KeyKind) -> bytes:
    """A key and its certificate request (PEM); they pass through a pipe, never by the disk. Raises Refused.

    Of a key in the TPM that is what the TPM loads it from.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", _MODULE, kind, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    made, said = await child.communicate()
    if child.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise Refused(f"cannot make a key for this node: {one_line(last)}")
    return made
