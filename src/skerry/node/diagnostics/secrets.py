"""The values that a bundle must not have, as far as this user may read them: nothing of it is ever shown.

They are looked for in what the agent and its workloads were started with, which also tells where everything at rest is
sealed, in the database, and in the node's own files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from skerry.keeper.log_rules import SHORTEST_SECRET, secrets_of
from skerry.kit.sealing.format import is_sealed
from skerry.node.identity import SECRET_FILE
from skerry.wire.codec import decode
from skerry.wire.secrets import SecretUse

_MOST = 64 * 1024


class Spec(msgspec.Struct, frozen=True):
    """Of a workload's spec what its secrets are in."""

    env: dict[str, str] = {}
    secrets: list[SecretUse] = []


class _Assignment(msgspec.Struct, frozen=True):
    spec: Spec


class Values(msgspec.Struct, frozen=True):
    """Of one workload: what its own log must not have, which is all of its environment, and what stands `nowhere`."""

    log: frozenset[bytes]
    nowhere: frozenset[bytes]


def environment_of(pid: str, proc: Path = Path("/proc")) -> dict[str, str]:
    """What a process was started with; empty when it is gone or somebody else's."""
    try:
        words = (proc / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    pairs = (word.decode(errors="surrogateescape").partition("=") for word in words)
    return {name: value for name, sign, value in pairs if sign}


def passwords_in(texts: Iterable[str]) -> Iterator[str]:
    """The passwords of URLs, as they are written and as they are meant."""
    for text in texts:
        try:
            password = urlsplit(text).password if "@" in text else None
        except ValueError:
            continue
        if password:
            yield from (password, unquote(password))


def of_node(data_dir: Path, pid: str, files: Iterable[Path]) -> frozenset[bytes]:
    """The node's secret, what is in these files of passwords, and what the agent's environment has."""
    environment = environment_of(pid) if pid else {}
    found = [*secrets_of(environment), *passwords_in(environment.values())]
    contents = [_content(path) for path in (data_dir / SECRET_FILE, *files)]
    return frozenset([*(_bytes(each) for each in found), *(each for each in contents if each)])


def of_workloads(specs: Mapping[str, Spec], proc: Path = Path("/proc")) -> dict[str, Values]:
    """What is in the environments of workloads: of those that run, and of `specs`."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for name, spec in specs.items():
        found.setdefault(name, []).append(spec.env)
    for process in proc.glob("[0-9]*"):
        environment = environment_of(process.name, proc)
        if workload := environment.get("SKERRY_WORKLOAD"):
            own = {key: value for key, value in environment.items() if not _is_ours(key)}
            found.setdefault(workload, []).append(own)
    return {
        name: _values(environments, _given_secrets(specs.get(name, Spec())))
        for name, environments in found.items()
    }


def specs_in(database: sqlite3.Connection) -> dict[str, Spec]:
    """What each workload was last started from, where it is not sealed. Raises sqlite3.Error, InvalidInput."""
    rows = database.execute("SELECT name, assignment FROM workload").fetchall()
    return {
        name: decode(bytes(body), _Assignment, f"the assignment of «{name}»").spec
        for name, body in rows
        if not is_sealed(bytes(body))
    }


def _is_ours(name: str) -> bool:
    return name in {"PATH", "HOME", "LANG", "PWD", "TZ"} or name.startswith("SKERRY_")


def _given_secrets(spec: Spec) -> frozenset[str]:
    """The variables that are secrets whatever they are called."""
    return frozenset(use.env for use in spec.secrets if use.env)


def _values(environments: Iterable[Mapping[str, str]], secret: frozenset[str]) -> Values:
    log: set[str] = set()
    nowhere: set[str] = set()
    for environment in environments:
        log.update(value for value in environment.values() if len(value) >= SHORTEST_SECRET)
        nowhere.update(secrets_of(environment), passwords_in(environment.values()))
        nowhere.update(value for name, value in environment.items() if name in secret)
    return Values(frozenset(map(_bytes, log)), frozenset(map(_bytes, nowhere)))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST)
    except OSError:
        return b""
    return b"" if is_sealed(data) else data.strip()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
