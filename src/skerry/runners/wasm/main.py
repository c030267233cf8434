"""Reads the order, runs it and ends with its exit code.

A code of 200 and more is the runner's own (`wire.wasm.RunnerExit`), and the last line of the log says why.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import msgspec

from skerry.kit.errors import SkerryError
from skerry.runners.wasm.endings import Failure, say, tell
from skerry.runners.wasm.settings import module_environment
from skerry.wire.wasm import NO_RUNTIME, RunnerExit, WasmOrder


def main() -> NoReturn:
    """Runs the order in the first argument."""
    order = msgspec.json.decode(sys.argv[1], type=WasmOrder)
    try:
        code = _run(order)
    except Failure as failure:
        tell(failure)
        code = failure.code
    except SkerryError as error:
        say(str(error))
        code = 1
    sys.stdout.flush()
    # A thread may wait for the node for ever.
    os._exit(code)


def _run(order: WasmOrder) -> int:
    try:
        from skerry.runners.wasm import assembly  # noqa: PLC0415 - wasmtime may not be installed
    except ModuleNotFoundError as error:
        if error.name != "wasmtime":
            raise
        raise Failure(RunnerExit.NO_RUNTIME, NO_RUNTIME) from error
    return assembly.run(order, module_environment())
