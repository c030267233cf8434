"""What this device's sshd goes by, kept as the hub says: the authority's key, revoked certificates, the host certificate.

sshd reads the first two at each login, so they take effect at once; for a new host certificate it is told to read its
configuration again. Without the hub everything stays as it is: certificates are good until their end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.kit.tasks import Guard
from skerry.node.access.set_up import SET_UP_SEEN_EVERY, SetUp, read_set_up
from skerry.node.host import Host
from skerry.wire.codec import encode
from skerry.wire.ssh import SshNode, SshTrust

log = logging.getLogger(__name__)

AUTHORITY, REVOKED, HOST_CERTIFICATE = "user_ca.pub", "krl", "host-cert.pub"
_KEPT = "kept.json"

ASKED_EVERY = {"online": 600.0, "polling": 60.0}
"""Seconds between two questions without news, by the state of the way to the hub."""


class Ask(Protocol):
    """Asks the hub. Raises as `ports.Uplink`."""

    def __call__(self, question: object, kind: type[SshTrust]) -> Awaitable[SshTrust]: ...


class Kept(msgspec.Struct, frozen=True):
    """What was kept: the list's name, and from when until when `host_ca`'s certificate of `host_key` is good (ns).

    By this device's clock, which may be wrong: it counts from when it got it, for as long as the hub said.
    """

    revoked: str = ""
    host_key: str = ""
    host_ca: str = ""
    host_since: int = 0
    host_until: int = 0


def wants_host_certificate(kept: Kept, host_key: str, now: int) -> bool:
    """Whether two thirds of its life are over, or it is another key's."""
    due = kept.host_since + (kept.host_until - kept.host_since) * 2 // 3
    return kept.host_key != host_key or not kept.host_since <= now < due


def kept_of(answer: SshTrust, host_key: str, now: int) -> Kept:
    """What is noted of an answer with a host certificate."""
    until = now + answer.host_until - answer.host_since if answer.host_since else answer.host_until
    return Kept(answer.revoked, host_key, answer.host_ca, now, until)


class SshTrustKeeper:
    """`state` is that of the way to the hub; `news` rings when the hub has something, and after each hello."""

    def __init__(
        self, data_dir: Path, ask: Ask, state: Callable[[], str], news: Bell, host: Host
    ) -> None:
        self._data_dir = data_dir
        self._ask = ask
        self._state = state
        self._news = news
        self._host = host
        self._set_up: SetUp | None = None
        self._guard = Guard("keeping what sshd knows of the hub", host.clock, host.chance)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            seen = self._news.count
            if await self._guard.run(self._pass):
                _ = await self._guard.run(partial(self._wait, seen))

    async def _pass(self) -> None:
        self._set_up = read_set_up(self._data_dir)
        if self._set_up is not None and self._state() in ASKED_EVERY:
            await self.once(self._set_up)

    async def _wait(self, seen: int) -> None:
        """Until news, until it is time again, or until there is another set-up or way to the hub."""
        state, clock = self._state(), self._host.clock
        until = clock.monotonic_ns() + int(ASKED_EVERY.get(state, 600.0) * NS)
        while clock.monotonic_ns() < until and state == self._state():
            if await self._news.within(seen, SET_UP_SEEN_EVERY, clock) > seen:
                return
            if self._set_up != read_set_up(self._data_dir):
                return

    async def once(self, set_up: SetUp) -> None:
        """Asks, and keeps what is new. Raises as the question, and Refused when it cannot be kept."""
        kept, now = self._read(set_up), self._host.clock.wall_ns()
        answer = await self._answer(
            set_up, kept, wants=wants_host_certificate(kept, set_up.host_key, now)
        )
        if answer.host_ca != kept.host_ca and not answer.host_certificate:
            answer = await self._answer(set_up, kept, wants=True)
        try:
            await asyncio.to_thread(self._keep, set_up, kept, answer, now)
        except OSError as error:
            raise Refused(
                f"cannot keep what sshd knows of the hub in {set_up.directory}: {error.strerror}. As root: skerry node "
                "ssh-setup"
            ) from error
        if answer.host_certificate:
            reload_sshd(set_up.pid_file)

    async def _answer(self, set_up: SetUp, kept: Kept, *, wants: bool) -> SshTrust:
        question = SshNode(
            set_up.user, set_up.port, set_up.host_key, set_up.limited, kept.revoked, wants
        )
        return await self._ask(question, SshTrust)

    def _read(self, set_up: SetUp) -> Kept:
        """What was kept; nothing, so that all of it is asked for, when it cannot be read."""
        try:
            kept = msgspec.json.decode((set_up.directory / _KEPT).read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return Kept()
        there = all((set_up.directory / name).exists() for name in (AUTHORITY, REVOKED))
        return kept if there and (set_up.directory / HOST_CERTIFICATE).exists() else Kept()

    def _keep(self, set_up: SetUp, kept: Kept, answer: SshTrust, now: int) -> None:
        """What is revoked comes first: nobody gets in by a new authority who should not."""
        files = {
            REVOKED: answer.krl,
            AUTHORITY: f"{answer.user_ca}\n".encode(),
            HOST_CERTIFICATE: f"{answer.host_certificate}\n".encode()
            if answer.host_certificate
            else None,
        }
        for name, content in files.items():
            path = set_up.directory / name
            if content is not None and (not path.exists() or path.read_bytes() != content):
                self._host.disk.write_atomic(f"ssh-trust.{name}", path, content, mode=0o644)
        new = msgspec.structs.replace(kept, revoked=answer.revoked)
        if answer.host_certificate:
            new = kept_of(answer, set_up.host_key, now)
        if new != kept:
            path = set_up.directory / _KEPT
            self._host.disk.write_atomic("ssh-trust.kept", path, encode(new), mode=0o644)


def reload_sshd(pid_file: Path) -> None:
    """Has sshd read its configuration again; what is logged in stays."""
    try:
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() != "sshd":
            return
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as error:
        log.warning(
            "sshd was not told of its new host certificate (%s): «systemctl reload ssh» does it",
            error,
        )
