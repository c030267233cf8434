"""What makes `isolation` and `allow` of a spec sensible. Used by `core.spec_rules`."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.core.fields import Problem, dotted
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
    yield from _paths(allow)
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


def _paths(allow: Allow) -> Iterator[Problem]:
    for name in ("read", "write"):
        for index, path in enumerate(getattr(allow, name)):
            where = ("allow", name, index)
            parts = path.split("/")
            if not path.startswith("/") or "\0" in path:
                yield Problem(
                    where, f"{dotted(where)}: «{path}» is not an absolute path: begin it with «/»"
                )
            elif path == "/" or any(part in {"", ".", ".."} for part in parts[1:]):
                sentence = f"{dotted(where)}: «{path}» is not exact: name one file or directory, without «.», «..» and «//»"
                yield Problem(where, sentence)
            elif name == "write" and path in allow.read:
                yield Problem(where, f"{dotted(where)}: «{path}» is in allow.read too: remove one")
            elif outer := next((each for each in allow.write if path.startswith(f"{each}/")), None):
                # It could put a link there that leads anywhere at the next start.
                sentence = f"{dotted(where)}: «{path}» lies in «{outer}», which allow.write grants already: remove it"
                yield Problem(where, sentence)


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
