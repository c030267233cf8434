"""Makes and renews what lies in the authority's files, when it is due: decided here, written by `files`. Blocks. ADR 24."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from datetime import datetime

from skerry.hub.trust.certificates import (
    Signer,
    instant,
    is_signed_by,
    make_intermediate,
    make_root,
)
from skerry.hub.trust.files import Kept, TrustFiles
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.kit.file_lock import Held, locked

log = logging.getLogger(__name__)

_PATIENCE = 100
"""Tenths of a second for which another hub process may write."""


class Keeper:
    """Of one directory, which several hub processes may share."""

    def __init__(self, files: TrustFiles, domain: str, clock: Clock) -> None:
        self.files = files
        self.domain = domain
        self._clock = clock

    def opened(self, *, may_begin: bool) -> Kept:
        """What the files hold; a fleet that has no root yet begins here. Raises Refused without a root, Corrupt, Transient."""
        kept = self.files.read()
        if kept is not None:
            return kept
        if not may_begin:
            raise Refused(
                f"cannot start: the fleet has a root of trust, and {self.files.directory} has none. Put back what another "
                "hub or a sealed backup has there, or bring the root: skerry hub ca import."
            )
        with self._alone():
            kept = self.files.read()
            if kept is None:
                made = make_root(self.domain, self._now())
                self.files.write_root(made)
                log.info("made the fleet's root of trust in %s", self.files.directory)
                kept = Kept(made.certificate, made.key)
        return kept

    def renewed(self, kept: Kept) -> Kept:
        """What the files hold now, with another intermediate when that is due and the root's key is here.

        `kept` is what they held before, and holds while there is nothing.
        """
        found = self.files.read() or kept
        if not is_due(found, self._now()):
            return found
        with self._alone():
            found = self.files.read() or kept
            if not is_due(found, self._now()):
                return found
            root = found.root_signer
            if root is None:
                self._warn(found)
                return found
            made = make_intermediate(root, self.domain, self._now())
            self.files.write_intermediate(made)
            return Kept(found.root, found.root_key, made)

    def next_root(self, *, make: bool) -> Signer | None:
        """The root that comes next, if it is in these files; `make`: otherwise a new one."""
        with self._alone():
            found = self.files.read_next()
            if found is None and make:
                found = make_root(self.domain, self._now())
                self.files.write_next(found)
            return found

    def promoted(self, kept: Kept) -> Kept:
        """The next root has taken the present one's place, and there is an intermediate below it."""
        with self._alone():
            self.files.promote()
        return self.renewed(kept)

    def _warn(self, kept: Kept) -> None:
        if kept.intermediate is not None:
            ends = kept.intermediate.certificate.not_valid_after_utc.isoformat()
            log.warning(
                "the intermediate in %s ends at %s, and the root's key is not here to renew it: skerry hub ca import",
                self.files.directory,
                ends,
            )

    def _now(self) -> datetime:
        return instant(self._clock.wall_ns())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process writes at a time, and whoever comes later finds it done."""
        for _ in range(_PATIENCE):
            with contextlib.suppress(Held), locked(self.files.directory / "lock"):
                yield
                return
            time.sleep(0.1)
        raise Transient(f"cannot write in {self.files.directory}: another hub process does so")


def is_due(kept: Kept, now: datetime) -> bool:
    """Whether the intermediate is missing, not of this root, or past two thirds of its life."""
    if kept.intermediate is None:
        return True
    certificate = kept.intermediate.certificate
    if not is_signed_by(certificate, kept.root):
        return True
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_before_utc + 2 * life / 3
