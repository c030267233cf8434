"""Contexts: under one name, which hub, whose token and which node's data directory a command means.

They live in ~/.config/skerry/contexts.json; `skerry up` writes «local», `skerry context` lists and chooses.
«default» is always there: the hub and node that run with default settings.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from skerry.core.names import is_url
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput
from skerry.kit.nearest import did_you_mean

DEFAULT = "default"
NO_TOKEN = Path(os.devnull)


class Context(msgspec.Struct, frozen=True):
    """Where commands go. `token_file` holds the token for `hub`: the administrator's, an API token, or of `skerry login`.

    `data_dir` is the node's, `hub_dir` the hub's own; None: it is not on this machine, or nobody has said where.
    `ca_file` has authorities (PEM) besides the system's for the hub's certificate.
    """

    hub: str
    token_file: Path
    data_dir: Path
    hub_dir: Path | None = None
    ca_file: Path | None = None


class Contexts(msgspec.Struct, frozen=True):
    """The content of the contexts file. `current` is the one for commands that name none."""

    current: str | None = None
    contexts: dict[str, Context] = {}

    def named(self, name: str) -> Context:
        """The context `name`. Raises InvalidInput with the nearest name."""
        if name not in self.contexts:
            known = did_you_mean(name, [*self.contexts, DEFAULT])
            raise InvalidInput(f"unknown context «{name}»: {known}")
        return self.contexts[name]

    def meant(self, name: str | None) -> Context | None:
        """The context `name`, else the current one; None: «default». Raises InvalidInput with the nearest name."""
        name = name or self.current
        return None if name is None or name == DEFAULT else self.named(name)

    def with_context(self, name: str, context: Context) -> Contexts:
        """With `context` added or replaced; it becomes the current one only when there is no current one."""
        return Contexts(self.current or name, {**self.contexts, name: context})


def contexts_file(home: Path) -> Path:
    """Where contexts are kept."""
    return home / ".config" / "skerry" / "contexts.json"


def read_contexts(path: Path) -> Contexts:
    """The file's content; nothing when there is no file. Raises InvalidInput when it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    try:
        return msgspec.json.decode(data, type=Contexts, dec_hook=_decode_path)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"cannot read {path}: {error}. Correct the file or delete it."
        ) from error


def write_contexts(path: Path, contexts: Contexts, disk: Disk) -> None:
    """Replaces the file, readable by its owner only. Raises InvalidInput when that is not possible."""
    data = msgspec.json.format(msgspec.json.encode(contexts, enc_hook=str), indent=2)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.write_atomic("contexts.write", path, data + b"\n")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error


def checked_hub(url: str) -> str:
    """A hub's address without a slash at its end. Raises InvalidInput when it is no URL."""
    found = url.rstrip("/")
    if not is_url(found) or urlsplit(found).path:
        raise InvalidInput(f"cannot use the hub «{url}»: write for example http://127.0.0.1:8600")
    return found


def _decode_path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def choose(  # noqa: PLR0913 - one for each option
    contexts: Contexts,
    default: Context,
    *,
    name: str | None = None,
    hub: str | None = None,
    token_file: Path | None = None,
    data_dir: Path | None = None,
    needs_token: bool = True,
) -> Context:
    """The target of one command: options before the named or current context before the default.

    A token is never sent to another hub than its own: with `hub`, it is that of a context for this hub.
    Raises InvalidInput when there is none, unless it `needs_token` not, or the hub's address is no URL.
    """
    base = contexts.meant(name) or default
    hub = checked_hub(hub or base.hub)
    known = [base, default, *contexts.contexts.values()]
    its = next((context for context in known if context.hub == hub), None)
    if token_file is None and its is not None:
        token_file = its.token_file
    if token_file is None and needs_token:
        raise InvalidInput(
            f"cannot ask {hub}: no context has a token for it. Sign in with skerry login USER --hub {hub}, or name the "
            "token's file with --token-file."
        )
    return Context(
        hub,
        (token_file or NO_TOKEN).absolute(),
        (data_dir or base.data_dir).absolute(),
        ca_file=None if its is None else its.ca_file,
    )
