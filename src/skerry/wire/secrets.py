"""Secrets: how a spec names them, and how they travel to a node. docs/reference/secrets.md."""

from __future__ import annotations

import msgspec


class SecretUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A secret that a workload gets: as the variable `env`, else as a file called `file`, or as the secret is.

    `restart`: a new value restarts the workload; else its file is replaced while it runs.
    """

    name: str
    file: str | None = None
    env: str | None = None
    restart: bool = True

    @property
    def file_name(self) -> str | None:
        """Of its file in the directory of secrets; None: it is no file."""
        return None if self.env is not None else self.file or self.name


class SealedSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret of an assignment, sealed to its node alone (`core.secrets`, `kit.sealing.envelopes`).

    `id` is another one for each value that was ever set, `version` counts them for people. `to` names the node's key.
    `why` says why there is nothing sealed.
    """

    name: str
    version: int = 0
    id: str = ""
    to: str = ""
    sealed: bytes = b""
    why: str = ""

    def __repr__(self) -> str:
        return f"SealedSecret({self.name}, {self.version})"
