"""Whether a WebAssembly module can be started here, so that the status says why not; its runner is a process.

What only compiling can tell (its imports, a damaged body) the runner says in the log, and its exit code
(`wire.wasm`) in the status.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from skerry.kit.errors import Refused
from skerry.node.ports import WasmLaunch
from skerry.node.workloads.runtimes.private import meets
from skerry.wire.wasm import NO_RUNTIME

_CORE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"


def check_module(launch: WasmLaunch, data_dir: Path, runtime: str = "wasmtime") -> None:
    """Raises Refused. `data_dir` is the node's own; `runtime` is the Python module that runners import."""
    cause = _cause(launch, data_dir, runtime)
    if cause:
        raise Refused(f"cannot start workload «{launch.workload}»: {cause}")


def _cause(launch: WasmLaunch, data_dir: Path, runtime: str) -> str:
    if importlib.util.find_spec(runtime) is None:
        return NO_RUNTIME
    for directory in launch.directories:
        if not directory.is_dir():
            return f"directory {directory} does not exist. Make it on the node, or correct wasm.directories."
        if meets(directory, data_dir):
            return (
                f"wasm.directories cannot name {directory}: the node's own data is at {data_dir}. "
                "Name a directory beside it."
            )
    return _module_cause(launch.module)


def _module_cause(module: Path) -> str:
    if not module.is_file():
        return f"module {module} does not exist. Copy it to the node, or correct wasm.module."
    try:
        with module.open("rb") as file:
            begin = file.read(len(_CORE))
    except OSError as error:
        return f"module {module}: {error.strerror}. Is it readable for the node?"
    if begin == _COMPONENT:
        return f"module {module} is a component. Build it for wasm32-wasip1 (WASI preview 1)."
    if begin != _CORE and module.suffix != ".wat":
        return f"file {module} is no WebAssembly module (binary, or text with a name that ends with .wat)."
    return ""
