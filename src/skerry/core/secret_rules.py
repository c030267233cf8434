"""What makes the `secrets` of a spec sensible ones. Used by `core.spec_rules`."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.core.fields import Problem, dotted
from skerry.core.names import component_fault, name_fault, variable_fault
from skerry.core.yaml_lines import Path
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import WorkloadSpec

MAX_SECRETS = 64


def secret_problems(spec: WorkloadSpec) -> Iterator[Problem]:
    """What is wrong with the secrets that a spec names."""
    if len(spec.secrets) > MAX_SECRETS:
        yield Problem(("secrets",), f"secrets: at most {MAX_SECRETS} of one workload")
    taken: set[tuple[str, str]] = {("env", name) for name in spec.env}
    for index, use in enumerate(spec.secrets):
        path: Path = ("secrets", index)
        yield from _use_problems(path, use, spec.runtime)
        place = ("env", use.env) if use.env is not None else ("file", use.file_name or "")
        if place in taken:
            what = "variable" if use.env is not None else "file"
            yield Problem(path, f"{dotted(path)}: there is already a {what} «{place[1]}»")
        taken.add(place)
    pull = None if spec.container is None else spec.container.pull_secret
    if pull is not None and (fault := name_fault(pull)):
        yield Problem(("container", "pull_secret"), f"container.pull_secret: {fault}")


def _use_problems(path: Path, use: SecretUse, runtime: str) -> Iterator[Problem]:
    for key, fault in (
        ("name", name_fault(use.name)),
        ("file", None if use.file is None else component_fault(use.file)),
        ("env", None if use.env is None else variable_fault(use.env)),
    ):
        if fault is not None:
            yield Problem((*path, key), f"{dotted((*path, key))}: {fault}")
    if use.env is not None and use.file is not None:
        yield Problem(path, f"{dotted(path)} takes either «file» or «env»: write an entry for each")
    if use.env is not None and not use.restart:
        sentence = (
            f"{dotted(path)}.restart: a variable never changes while a program runs: use «file»"
        )
        yield Problem((*path, "restart"), sentence)
    if use.env is None and runtime == "wasm":
        yield Problem(path, f"{dotted(path)}: a WebAssembly module gets secrets by «env» only")
