"""What makes `isolation` and `allow` of a spec sensible. Used by `core.spec_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skerry.core.fields import Problem, dotted
from skerry.core.names import holds_control
from skerry.core.yaml_lines import Path
from skerry.wire.workload import Allow, WorkloadSpec


def isolation_problems(spec: WorkloadSpec) -> Iterator[Problem]:
    """Grants only for strict processes, each of them exact; and probes that a strict process can answer."""
    allow = spec.allow
    confined = spec.isolation == "strict" and spec.container is None
    if allow != Allow() and not confined:
        way_out = (
            "a container is given things by its own section"
            if spec.container is not None
            else "it belongs to isolation: strict"
        )
        yield Problem(("allow",), f"allow has no effect here: {way_out}")
    yield from _paths(list(_grants(spec)))
    for index, port in enumerate(allow.connect):
        if not 1 <= port <= 65535:
            yield Problem(
                ("allow", "connect", index),
                f"allow.connect[{index}]: {port} is no TCP port: 1 to 65535",
            )
    if allow.network and allow.connect:
        yield Problem(
            ("allow", "connect"),
            "allow.connect: allow.network grants every port already: remove one",
        )
    if confined:
        yield from _probes(spec)


@dataclass(frozen=True)
class _Grant:
    """One file or directory of the device, and the place in the spec that gives it."""

    where: Path
    path: str
    writable: bool

    @property
    def field(self) -> str:
        return dotted(self.where[:-1])


def _grants(spec: WorkloadSpec) -> Iterator[_Grant]:
    """Those of `allow`, and a strict module's directories, which need no other grant."""
    for name in ("read", "write"):
        for index, path in enumerate(getattr(spec.allow, name)):
            yield _Grant(("allow", name, index), path, writable=name == "write")
    if spec.wasm is not None and spec.isolation == "strict":
        for index, item in enumerate(spec.wasm.directories):
            where = ("wasm", "directories", index)
            path = item.partition(":")[0].rstrip("/") or "/"
            yield _Grant(where, path, writable=not item.endswith(":ro"))


def _paths(grants: Sequence[_Grant]) -> Iterator[Problem]:
    readable = {each.path: each for each in grants if not each.writable}
    for grant in grants:
        where, path = grant.where, grant.path
        begin = f"{dotted(where)}: «{path}»"
        if not path.startswith("/") or "\0" in path:
            yield Problem(where, f"{begin} is not an absolute path: begin it with «/»")
        elif holds_control(path):
            yield Problem(where, f"{begin} holds a control character: remove it")
        elif path == "/" or any(part in {"", ".", ".."} for part in path.split("/")[1:]):
            sentence = (
                f"{begin} is not exact: name one file or directory, without «.», «..» and «//»"
            )
            yield Problem(where, sentence)
        elif grant.writable and path in readable:
            yield Problem(where, f"{begin} is in {readable[path].field} too: remove one")
        elif outer := _writable_around(path, grants):
            # It could put a link there that leads anywhere at the next start.
            sentence = (
                f"{begin} lies in «{outer.path}», which {outer.field} grants already: remove it"
            )
            yield Problem(where, sentence)


def _writable_around(path: str, grants: Sequence[_Grant]) -> _Grant | None:
    found = (each for each in grants if each.writable and path.startswith(f"{each.path}/"))
    return next(found, None)


def _probes(spec: WorkloadSpec) -> Iterator[Problem]:
    ready = spec.ready
    if ready is None:
        return
    if ready.exec is not None:
        sentence = (
            "ready.exec runs beside the workload, where strict lets nobody in: use ready.value"
        )
        yield Problem(("ready", "exec"), sentence)
    for name in ("http", "tcp"):
        if getattr(ready, name) is not None and not spec.allow.network:
            sentence = f"ready.{name} needs a network: use ready.value, or allow.network: true"
            yield Problem(("ready", name), sentence)
