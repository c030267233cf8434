"""What a node tells its WebAssembly runner (`skerry.runners.wasm`), and what the runner's exit codes mean.

The order is the runner's one argument. The module's environment, which may hold secrets, comes in the
runner's own environment, each name behind `VARIABLE`. A module itself ends with a code from 0 to 125:
WASI allows no other, so the codes from 200 on are the runner's.
"""

from __future__ import annotations

import enum

import msgspec

from skerry.wire.extras import installing
from skerry.wire.workload import Exit, WasmSpec

VARIABLE = "SKERRY_ENV_"
NO_RUNTIME = f"this node has no WebAssembly runtime. {installing('wasm')}"


class WasmOrder(msgspec.Struct, frozen=True):
    """One run of the runner. `module` and `cache` (a directory) are absolute, `memory` is in bytes."""

    spec: WasmSpec
    module: str
    cache: str
    memory: int | None = None


class RunnerExit(enum.IntEnum):
    """Exit codes of the runner."""

    NO_RUNTIME = 200
    NO_MODULE = 201
    WRONG_IMPORTS = 202
    NO_START = 203
    NO_DIRECTORY = 204
    TRAP = 210
    DEADLINE = 211
    OUT_OF_FUEL = 212
    OUT_OF_MEMORY = 213


REASONS = {
    RunnerExit.NO_RUNTIME: "no WebAssembly runtime",
    RunnerExit.NO_MODULE: "not a WebAssembly module",
    RunnerExit.WRONG_IMPORTS: "imports what there is not",
    RunnerExit.NO_START: "no _start",
    RunnerExit.NO_DIRECTORY: "directory cannot be opened",
    RunnerExit.TRAP: "trap",
    RunnerExit.DEADLINE: "deadline",
    RunnerExit.OUT_OF_FUEL: "out of fuel",
    RunnerExit.OUT_OF_MEMORY: "out of memory",
}


def explained(exit_: Exit) -> Exit:
    """The exit of a runner with what its code means."""
    if exit_.code not in REASONS or exit_.reason:
        return exit_
    return msgspec.structs.replace(exit_, reason=REASONS[RunnerExit(exit_.code)])
