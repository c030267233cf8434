"""What makes the program of a spec sensible: the sections of its runtime and of its scripts. Used by `core.spec_rules`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from skerry.core.fields import Problem, dotted
from skerry.core.names import pattern_fault
from skerry.core.places_inside import MODELS_INSIDE, SOCKET_INSIDE
from skerry.core.usb_names import usb_name
from skerry.core.yaml_lines import Path
from skerry.wire.workload import ContainerSpec, ProcessSpec, WasmSpec, WorkerSpec, WorkloadSpec

MAX_TEXT = 128 * 1024 - 1
"""Linux takes no argument or variable of more bytes (MAX_ARG_STRLEN)."""

_MAX_ORDER = 16 * 1024
"""The whole section goes to its runner as one argument, and JSON writes some characters as six."""

_SECTIONS = ("process", "container", "wasm")
_RUNNERS_OF_SCRIPTS = ("process", "container")
_IMAGE = re.compile(
    r"(?!-)(?:[\w.-]+(?::\d+)?/)?[a-z0-9._/-]*[a-z0-9](?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
"""[HOST[:PORT]/]NAME[:TAG][@DIGEST], as the engines read it."""

_CAPABILITY = re.compile(r"ALL|(CAP_)?[A-Z][A-Z_]+")
_VOLUME = re.compile(r"(?P<source>/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]+):(?P<target>/[^:]*)(:(ro|rw))?")
_DIRECTORY = re.compile(r"/[^:\0]*:/[^:\0]*(:(ro|rw))?")
_TAKEN = ("/", posixpath.dirname(SOCKET_INSIDE), MODELS_INSIDE)
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""`host` and `none` are such words, too. Engines give a meaning to what has a colon: «ns:/proc/…», «container:…»."""

_NOT_ROOT = re.compile(r"[1-9][0-9]*(:[1-9][0-9]*)?")
_NUMBER = re.compile(r"-?[0-9]+")
_MAX_USER = (1 << 31) - 1
"""Engines take no higher numbers of users and groups."""

_DEVICE = re.compile(r"/dev/[^:]+(:/[^:]+)?")


def program_problems(spec: WorkloadSpec) -> Iterator[Problem]:
    """Exactly the section that `runtime` names."""
    for section in _SECTIONS:
        there = getattr(spec, section) is not None
        if there and section != spec.runtime:
            sentence = (
                f"«{section}» does not belong to runtime «{spec.runtime}»: remove one of them"
            )
            yield Problem((section,), sentence)
        elif not there and section == spec.runtime and not _has_default_program(spec):
            yield Problem((section,), f"missing field «{section}»")
    if spec.process is not None and spec.runtime == "process":
        yield from _process(spec.process)
    if spec.container is not None and spec.runtime == "container":
        yield from _container(spec.container)
        if spec.isolation == "strict":
            yield from _strict(spec.container)
    if spec.wasm is not None and spec.runtime == "wasm":
        yield from _wasm(spec.wasm)
    if spec.worker is not None:
        yield from _worker(spec.worker, spec.runtime)


def _has_default_program(spec: WorkloadSpec) -> bool:
    """Scripts without a command of their own are run by `skerry.runners.worker`."""
    return spec.runtime == "process" and spec.worker is not None


def _worker(worker: WorkerSpec, runtime: str) -> Iterator[Problem]:
    where = "worker"
    if runtime not in _RUNNERS_OF_SCRIPTS:
        words = " or ".join(f"«{name}»" for name in _RUNNERS_OF_SCRIPTS)
        yield Problem((where,), f"worker needs runtime {words}, this has «{runtime}»")
    yield from _absolute((where, "scripts"), worker.scripts)
    if ":" in worker.scripts:
        sentence = f"worker.scripts: «{worker.scripts:.80}» holds «:»: rename the directory"
        yield Problem((where, "scripts"), sentence)
    if not worker.pattern or "/" in worker.pattern or "\0" in worker.pattern:
        sentence = (
            f"worker.pattern: «{worker.pattern:.80}» names no files of a directory: write *.py"
        )
        yield Problem((where, "pattern"), sentence)


def _process(process: ProcessSpec) -> Iterator[Problem]:
    yield from command_problems(("process", "command"), process.command)
    yield from _absolute(("process", "directory"), process.directory)


def _container(container: ContainerSpec) -> Iterator[Problem]:
    where = "container"
    if len(container.image) > 512 or not _IMAGE.fullmatch(container.image):
        sentence = f"container.image: «{container.image:.80}» is not an image: write for example acme/cam:2"
        yield Problem((where, "image"), sentence)
    for name in ("entrypoint", "command"):
        words = getattr(container, name)
        if words is not None:
            yield from command_problems((where, name), words)
    yield from _absolute((where, "directory"), container.directory)
    for index, item in enumerate(container.devices):
        if not _DEVICE.fullmatch(item) and usb_name(item) is None:
            path = (where, "devices", index)
            sentence = f"{dotted(path)}: «{item:.80}» is not understood: write /dev/video0, or usb:0403:6001"
            yield Problem(path, sentence)
    yield from _volumes(container)
    yield from _user_and_network(container)
    for name, form, example in (
        ("cap_add", _CAPABILITY, "NET_ADMIN"),
        ("cap_drop", _CAPABILITY, "ALL"),
        ("volumes", _VOLUME, "/srv/data:/data:ro"),
    ):
        for index, item in enumerate(getattr(container, name)):
            if not form.fullmatch(item):
                path = (where, name, index)
                yield Problem(
                    path, f"{dotted(path)}: «{item:.80}» is not understood: write {example}"
                )


def _wasm(wasm: WasmSpec) -> Iterator[Problem]:
    where = "wasm"
    parts = wasm.module.split("/")
    if not parts[-1] or "\0" in wasm.module or ".." in parts or len(wasm.module) > 4096:
        sentence = (
            f"wasm.module: «{wasm.module:.80}» is no file's path: write it from «/», "
            "or relative to the workload's own directory"
        )
        yield Problem((where, "module"), sentence)
    for index, word in enumerate(wasm.args):
        path: Path = (where, "args", index)
        yield from passable_problems(path, dotted(path), word)
    if sum(len(word.encode()) for word in (*wasm.args, *wasm.directories)) > _MAX_ORDER:
        sentence = f"wasm.args and wasm.directories are longer than {_MAX_ORDER} bytes: put them into a file"
        yield Problem((where, "args"), sentence)
    for index, item in enumerate(wasm.directories):
        if not _DIRECTORY.fullmatch(item):
            path = (where, "directories", index)
            sentence = f"{dotted(path)}: «{item:.80}» is not understood: write /srv/data:/data:ro"
            yield Problem(path, sentence)
    yield from _twice((where, "directories"), wasm.directories)
    yield from _input(wasm)


def _input(wasm: WasmSpec) -> Iterator[Problem]:
    path: Path = ("wasm", "input")
    if wasm.input is None:
        if wasm.mode == "on-record":
            yield Problem(path, "missing field «wasm.input»: mode «on-record» runs for each record that fits it")  # fmt: skip
    elif wasm.mode == "once":
        yield Problem(path, "wasm.input: mode «once» gets no records: use «worker» or «on-record»")
    elif (fault := pattern_fault(wasm.input)) is not None:
        yield Problem(path, f"wasm.input: {fault}")


def _volumes(container: ContainerSpec) -> Iterator[Problem]:
    """What would hide the node's own mounts, or goes upwards."""
    for index, item in enumerate(container.volumes):
        found = _VOLUME.fullmatch(item)
        target = _place(found["target"]) if found else ""
        taken = target in _TAKEN or ".." in (found["target"] if found else "").split("/")
        if found and taken:
            path = ("container", "volumes", index)
            sentence = f"{dotted(path)}: «{item:.80}»: {found['target']} is not free for it: choose another place inside"
            yield Problem(path, sentence)
    yield from _twice(("container", "volumes"), container.volumes)


def _twice(where: Path, items: Sequence[str]) -> Iterator[Problem]:
    """Of two «SOURCE:/INSIDE[:MODE]» with the same place inside, one would hide the other."""
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        inside = item.partition(":")[2].partition(":")[0]
        earlier = first.setdefault(_place(inside), index)
        if inside and earlier != index:
            path = (*where, index)
            sentence = (
                f"{dotted(path)}: «{item:.80}»: {dotted((*where, earlier))} is at {inside} already: "
                "choose another place inside"
            )
            yield Problem(path, sentence)


def _place(inside: str) -> str:
    """In one way of writing; `normpath` leaves two slashes at the beginning as they are."""
    return posixpath.normpath(f"/{inside.lstrip('/')}")


def _user_and_network(container: ContainerSpec) -> Iterator[Problem]:
    user, network = container.user or "", container.network
    numbers = [part for part in user.split(":") if _NUMBER.fullmatch(part)]
    if any(len(part) > len(str(_MAX_USER)) or not 0 <= int(part) <= _MAX_USER for part in numbers):
        sentence = f"container.user: «{user:.40}» is out of range: 0 to {_MAX_USER}"
        yield Problem(("container", "user"), sentence)
    if network is not None and not _NETWORK.fullmatch(network):
        sentence = (
            f"container.network: «{network:.80}» is not understood: "
            "write host, none, or the name of a network"
        )
        yield Problem(("container", "network"), sentence)


def _strict(container: ContainerSpec) -> Iterator[Problem]:
    """What would undo `isolation: strict`."""
    way_out = "leave it out, or write isolation: standard"
    for name, wrong in (
        ("privileged", container.privileged),
        ("cap_add", bool(container.cap_add)),
        ("network", container.network == "host"),
    ):
        if wrong:
            sentence = f"container.{name}: not with isolation «strict»: {way_out}"
            yield Problem(("container", name), sentence)
    if container.user is not None and not _NOT_ROOT.fullmatch(container.user):
        sentence = (
            f"container.user: «{container.user:.40}» with isolation «strict»: "
            "write UID or UID:GID in numbers other than 0"
        )
        yield Problem(("container", "user"), sentence)


def _absolute(path: Path, directory: str | None) -> Iterator[Problem]:
    if directory is not None and (not directory.startswith("/") or "\0" in directory):
        sentence = f"{dotted(path)}: «{directory}» is not an absolute path: begin it with «/»"
        yield Problem(path, sentence)


def command_problems(path: Path, command: Sequence[str]) -> Iterator[Problem]:
    """A program and its arguments."""
    if not command or not command[0]:
        yield Problem(path, f"{dotted(path)} is empty: write the program and its arguments")
    for index, word in enumerate(command):
        yield from passable_problems((*path, index), dotted((*path, index)), word)


def passable_problems(path: Path, where: str, word: str) -> Iterator[Problem]:
    """Whether the system can hand `word` to a new process."""
    if "\0" in word:
        yield Problem(path, f"{where} holds a NUL character: remove it")
    elif len(word.encode()) > MAX_TEXT:
        yield Problem(path, f"{where} is longer than {MAX_TEXT} bytes: put it into a file")
