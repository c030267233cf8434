"""Who may speak for what at the gate and at the REST endpoint: the grants of the instances that live on this device."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from skerry.kit.bell import Bell
from skerry.kit.disk import Disk
from skerry.node.broker.tokens import TokensFile, digest_of, token_of
from skerry.node.twin_ports import Grant


class Granting:
    """Implements `twin_ports.Tokens`. `secret` is what tokens are made of; the gate reads what is written to `path`.

    `changed` rings when the gate has to read it again.
    """

    def __init__(self, secret: bytes, path: Path, disk: Disk) -> None:
        self.changed = Bell()
        self._secret = secret
        self._file = TokensFile(path, disk)
        self._grants: dict[str, Grant] = {}
        self._holders: dict[str, str] = {}
        self._stale = False
        """What is granted is not what the gate's file says: it could not be written."""

    def give(self, instance: str, grant: Grant) -> str:
        """As `twin_ports.Tokens.give`; in the gate's file when it returns. Raises OSError."""
        token = token_of(self._secret, instance)
        if self._grants.get(instance) != grant:
            self._grants[instance] = grant
            self._holders[digest_of(token)] = instance
            self._stale = True
        self._write()
        return token

    def has(self, instance: str) -> bool:
        """Whether it has a token that is good for something."""
        return instance in self._grants

    def grant_of(self, token: str) -> Grant | None:
        """As `twin_ports.Tokens.grant_of`."""
        holder = self._holders.get(digest_of(token))
        return None if holder is None else self._grants.get(holder)

    def workload_of(self, number: int) -> str | None:
        """Whose messages have that number in the gate's journal; None when its token has ended."""
        return self._file.workload_of(number)

    def keep_only(self, instances: Collection[str]) -> None:
        """The tokens of all others have ended. Raises OSError."""
        ended = self._grants.keys() - set(instances)
        for instance in ended:
            del self._grants[instance]
            del self._holders[digest_of(token_of(self._secret, instance))]
        self._stale = self._stale or bool(ended)
        self._write()

    def begin(self) -> None:
        """Writes the file as it holds now: what a run of the agent before this one granted is over. Raises OSError."""
        self._stale = True
        self._write()

    def _write(self) -> None:
        if not self._stale:
            return
        grants = {token_of(self._secret, one): grant for one, grant in self._grants.items()}
        is_new = self._file.write(grants)
        self._stale = False
        if is_new:
            self.changed.ring()
