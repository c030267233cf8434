"""What makes a well-formed WorkloadSpec a sensible one: names, ranges, what excludes what. Used by `core.specs`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from skerry.core.fields import Problem, dotted
from skerry.core.isolation_rules import isolation_problems
from skerry.core.names import (
    SOURCES_OF_OUR_OWN,
    component_fault,
    is_url,
    label_fault,
    name_fault,
    pattern_fault,
    variable_fault,
)
from skerry.core.program_rules import command_problems, passable_problems, program_problems
from skerry.core.secret_rules import secret_problems
from skerry.core.yaml_lines import Path
from skerry.kit.units import write_duration, write_size
from skerry.wire.workload import Selector, Update, WorkloadSpec

SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")

MAX_MODELS = 64
_YEAR = 365 * 86400.0
_SHARE = re.compile(r"(100|[1-9][0-9]?)%")
_MOST_PATTERNS = 20
_LONGEST_PATTERN = 200
_SHORTEST_START = 2
_PROBES = ("exec", "http", "tcp", "value", "health")


def plain(value: float) -> str:
    """A number as people write it."""
    return f"{value:.15g}"


@dataclass(frozen=True)
class _Range:
    """Bounds of one field, both included. An absent field (None) has none."""

    path: str
    low: float
    high: float
    write: Callable[..., str]

    def problem(self, spec: WorkloadSpec) -> Problem | None:
        *sections, name = self.path.split(".")
        part = attrgetter(".".join(sections))(spec)
        value = None if part is None else getattr(part, name)
        if not isinstance(value, int | float) or self.low <= value <= self.high:
            return None
        bound = (
            f"at least {self.write(self.low)}"
            if value < self.low
            else f"at most {self.write(self.high)}"
        )
        shown = self.write(value) if math.isfinite(value) else str(value)
        return Problem((*sections, name), f"{self.path}: {shown} is out of range: {bound}")


_RANGES = (
    _Range("resources.cpu", 0.001, 4096, plain),
    _Range("resources.memory", 1 << 20, 1 << 50, write_size),
    _Range("resources.open_files", 16, 1 << 20, plain),
    _Range("resources.storage", 1 << 20, 1 << 50, write_size),
    _Range("resources.pids", 1, 1 << 22, plain),
    _Range("container.gpus", 1, 64, plain),
    _Range("restart.delay", 0.01, _YEAR, write_duration),
    _Range("restart.max_delay", 0.01, _YEAR, write_duration),
    _Range("restart.reset_after", 1, _YEAR, write_duration),
    _Range("restart.attempts", 1, 1000, plain),
    _Range("restart.window", 1, _YEAR, write_duration),
    _Range("stop.grace", 0, _YEAR, write_duration),
    _Range("ready.tcp", 1, 65535, plain),
    _Range("ready.interval", 0.01, _YEAR, write_duration),
    _Range("ready.timeout", 0.01, _YEAR, write_duration),
    _Range("worker.reload_delay", 1, _YEAR, write_duration),
    _Range("on_disconnect.stop_after", 1, _YEAR, write_duration),
    _Range("wasm.deadline", 0.01, _YEAR, write_duration),
    _Range("wasm.fuel", 1, (1 << 63) - 1, plain),
    _Range("logs.max_size", 4096, 1 << 40, write_size),
    _Range("logs.files", 1, 100, plain),
    _Range("logs.max_age", 60, _YEAR, write_duration),
    _Range("update.min_healthy", 0, 86400, write_duration),
    _Range("update.healthy_within", 1, 7 * 86400, write_duration),
    _Range("update.lock_at_most", 0, 86400, write_duration),
    _Range("update.ready_within", 1, 7 * 86400, write_duration),
)


def problems(spec: WorkloadSpec) -> Iterator[Problem]:
    """Everything that is wrong within one spec."""
    yield from _named(("name",), spec.name)
    yield from _fault(("name",), "name", _reserved_fault(spec.name))
    yield from selector_problems(spec.on)
    yield from program_problems(spec)
    yield from isolation_problems(spec)
    yield from _environment(spec.env)
    for bounds in _RANGES:
        problem = bounds.problem(spec)
        if problem is not None:
            yield problem
    yield from _restart(spec)
    yield from _ready(spec)
    yield from _depends_on(spec)
    yield from _models(spec.models)
    yield from secret_problems(spec)
    yield from _update(spec.update)
    yield from _overlap(spec)
    for pattern in spec.streams:
        yield from _fault(("streams", pattern), "streams", pattern_fault(pattern))
    yield from _redacted(spec.logs.redact)


def set_problems(
    specs: Sequence[WorkloadSpec], lines: Sequence[int] = ()
) -> list[tuple[int, Problem]]:
    """What is wrong between specs: (index of the spec, problem). `lines` are those of their names, if there are any."""
    first: dict[str, int] = {}
    found = []
    for index, spec in enumerate(specs):
        earlier = first.setdefault(spec.name, index)
        if earlier != index:
            where = f" in line {lines[earlier]}" if lines else ""
            sentence = f"workload «{spec.name}» is already described{where}"
            found.append((index, Problem(("name",), sentence)))
    circle = _circle({spec.name: spec.depends_on for spec in specs})
    if circle:
        sentence = f"depends_on goes in a circle: {' → '.join(circle)}"
        found.append((first[circle[0]], Problem(("depends_on",), sentence)))
    return found


def _fault(path: Path, where: str, fault: str | None) -> Iterator[Problem]:
    if fault is not None:
        yield Problem(path, f"{where}: {fault}")


def _named(path: Path, name: str) -> Iterator[Problem]:
    yield from _fault(path, dotted(path), name_fault(name))


def selector_problems(on: Selector) -> Iterator[Problem]:
    """What is wrong with an `on`."""
    if on.node is not None:
        yield from _named(("on", "node"), on.node)
    if on.node is not None and on.labels:
        yield Problem(("on",), "on takes either «node» or «labels», this has both")
    for key, value in on.labels.items():
        yield from _fault(("on", "labels", key), "on.labels", label_fault(key, value))


def _environment(env: Mapping[str, str]) -> Iterator[Problem]:
    for name, value in env.items():
        yield from _fault(("env", name), "env", variable_fault(name))
        yield from passable_problems(("env", name), f"env.{name}", value)


def _restart(spec: WorkloadSpec) -> Iterator[Problem]:
    if spec.restart.max_delay < spec.restart.delay <= _YEAR:
        yield Problem(
            ("restart", "max_delay"),
            f"restart.max_delay: {write_duration(spec.restart.max_delay)} is less than "
            f"restart.delay, {write_duration(spec.restart.delay)}",
        )


def _ready(spec: WorkloadSpec) -> Iterator[Problem]:
    ready = spec.ready
    if ready is None:
        return
    probes = (ready.exec, ready.http, ready.tcp, ready.value, ready.health or None)
    given = [name for name, probe in zip(_PROBES, probes, strict=True) if probe is not None]
    if len(given) != 1:
        yield Problem(
            ("ready",),
            f"ready needs exactly one of {', '.join(_PROBES)}; this has {', '.join(given) or 'none'}",
        )
    if ready.health and spec.runtime != "container":
        yield Problem(("ready", "health"), "ready.health: only a container has a health check")
    if ready.exec is not None:
        yield from command_problems(("ready", "exec"), ready.exec)
    if ready.http is not None and not is_url(ready.http):
        yield Problem(
            ("ready", "http"),
            f"ready.http: «{ready.http}» is not a URL: write for example http://127.0.0.1:8080/healthz",
        )
    if ready.value is not None:
        yield from _fault(("ready", "value"), "ready.value", pattern_fault(ready.value))


def _depends_on(spec: WorkloadSpec) -> Iterator[Problem]:
    for name in spec.depends_on:
        path = ("depends_on", name)
        if name == spec.name:
            yield Problem(path, f"depends_on: «{name}» cannot depend on itself")
        else:
            yield from _fault(path, "depends_on", name_fault(name))


def _models(names: Sequence[str]) -> Iterator[Problem]:
    if len(names) > MAX_MODELS:
        yield Problem(("models",), f"models: at most {MAX_MODELS} of one workload")
    for index, name in enumerate(names):
        path = ("models", index)
        yield from _fault(path, dotted(path), component_fault(name))
        if name in names[:index]:
            yield Problem(path, f"{dotted(path)}: «{name}» is there twice")


def _update(update: Update) -> Iterator[Problem]:
    limit = update.max_unavailable
    if limit is not None and not (_SHARE.fullmatch(limit) if isinstance(limit, str) else limit > 0):
        yield Problem(
            ("update", "max_unavailable"),
            f"update.max_unavailable: «{limit}» is not understood: write a number of nodes from 1 on, "
            "or a share of them from 1% to 100%",
        )
    if update.healthy_within < update.min_healthy <= 86400:
        yield Problem(
            ("update", "healthy_within"),
            f"update.healthy_within: {write_duration(update.healthy_within)} is less than "
            f"update.min_healthy, {write_duration(update.min_healthy)}",
        )


def _overlap(spec: WorkloadSpec) -> Iterator[Problem]:
    """What ends by itself never proves itself beside its predecessor."""
    if spec.update.strategy == "overlap" and spec.wasm is not None and spec.wasm.mode == "once":
        yield Problem(
            ("update", "strategy"),
            "update.strategy: «overlap» is for what stays, and wasm.mode «once» ends by itself: "
            "use «worker» or «on-record», or strategy «recreate»",
        )


def _redacted(patterns: Sequence[str]) -> Iterator[Problem]:
    if len(patterns) > _MOST_PATTERNS:
        sentence = (
            f"logs.redact has {len(patterns)} patterns, at most {_MOST_PATTERNS} are looked for"
        )
        yield Problem(("logs", "redact"), sentence)
    for index, pattern in enumerate(patterns):
        yield from _fault(("logs", "redact", index), "logs.redact", _mask_fault(pattern))


def _mask_fault(pattern: str) -> str | None:
    """A pattern must begin with something to look for, and hold nothing that no line or word has."""
    if len(pattern.partition("*")[0].strip()) < _SHORTEST_START:
        return f"«{pattern}» must begin with at least {_SHORTEST_START} characters that are no «*», such as «sk-*»"
    if len(pattern) > _LONGEST_PATTERN:
        return f"a pattern has {len(pattern)} characters, at most {_LONGEST_PATTERN} are looked for"
    if "**" in pattern:
        return f"«{pattern}»: one «*» is enough"
    if any(ord(c) < 32 for c in pattern) or ("*" in pattern and " " in pattern.partition("*")[2]):
        return f"«{pattern}»: what «*» stands for ends with its word, so no blank can follow it"
    return None


def _circle(edges: Mapping[str, Mapping[str, object]]) -> list[str] | None:
    """A circle, with its first name again at the end; names that nobody describes lead nowhere."""
    done: set[str] = set()
    for start in edges:
        way: list[str] = []
        branches = [iter([start])]
        while branches:
            name = next(branches[-1], None)
            if name is None:
                branches.pop()
                if way:
                    done.add(way.pop())
            elif name in way:
                return [*way[way.index(name) :], name]
            elif name in edges and name not in done:
                way.append(name)
                branches.append(iter(edges[name]))
    return None


def _reserved_fault(name: str) -> str | None:
    if name in SOURCES_OF_OUR_OWN:
        return f"«{name}» is the source of Skerry's own records: choose another name"
    return None
