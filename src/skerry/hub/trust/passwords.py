"""Passwords: argon2id, in threads of its own, few at a time, so that a flood takes neither memory nor the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from skerry.kit.errors import Busy, InvalidInput

T = TypeVar("T")

SHORTEST = 12
LONGEST = 256
"""Characters."""

AT_ONCE = 2
WAITING = 16
"""Computations at a time, and how many more may wait: each takes 19 MiB and some 35 ms of one processor."""

_MEMORY = 19 * 1024
_ITERATIONS = 2
_LANES = 1


class Passwords:
    """Hashes and verifies. Raises Busy when too many ask."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hub passwords")
        self._places = threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._of_nobody: str | None = None
        self.verifications = 0
        """How many there have been."""

    async def hashed(self, password: str) -> str:
        """Its hash in PHC form."""
        return await self._run(lambda: _hash(password))

    async def fit(self, password: str, kept: str | None) -> bool:
        """Whether the password is the one of the hash `kept`. None: of nobody; that takes as long, and it never is."""

        def work() -> bool:
            if self._of_nobody is None:
                self._of_nobody = _hash(os.urandom(32).hex())
            self.verifications += 1
            right = _verify(password, kept or self._of_nobody)
            return right and kept is not None

        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Busy("cannot check a password now: too many are being checked. Try again.")
        asked = self._threads.submit(work)
        # When it is over, not when nobody waits for it any more: a client that leaves frees no processor.
        asked.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(asked)


def check_password(password: str, name: str) -> None:
    """Raises InvalidInput when it is too easy to guess for user `name`, or too long."""
    plain = _plain(password)
    if len(plain) < SHORTEST:
        raise InvalidInput(f"cannot use this password: it has less than {SHORTEST} characters")
    if len(plain) > LONGEST:
        raise InvalidInput(f"cannot use this password: it has more than {LONGEST} characters")
    if len(set(plain)) < 5 or name.lower() in plain.lower():
        raise InvalidInput(
            "cannot use this password: it is easy to guess (few different characters, or the user's name in it)"
        )


def _plain(password: str) -> str:
    """One form of what keyboards write in several."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    return _plain(password[: 4 * LONGEST]).encode("utf-8", errors="surrogatepass")


def _hash(password: str) -> str:
    kdf = Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=_ITERATIONS,
        lanes=_LANES,
        memory_cost=_MEMORY,
    )
    return kdf.derive_phc_encoded(_bytes(password))


def _verify(password: str, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(_bytes(password), kept)
    except InvalidKey:
        return False
    return True
