"""The only module that knows wasmtime: compiles, links and runs one module, each run in a store of its own.

A run sees its arguments, its environment, its directories, standard input, and the functions of `calls`; WASI
preview 1 gives it nothing else: no other file, no socket, no process. Memory, tables, stack and, where wanted, time
and fuel have limits. wasmtime's interface changes with every major version, which pyproject.toml pins.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wasmtime import (
    Caller,
    Config,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
    WasmtimeError,
    wat2wasm,
)

from skerry.kit.one_line import one_line
from skerry.runners.wasm.cache import CompileCache
from skerry.runners.wasm.endings import Failure, say
from skerry.wire.wasm import REASONS, RunnerExit

_WASI = "wasi_snapshot_preview1"
_OURS = "skerry"
_TABLE_ELEMENTS = 1 << 20
_MEMORY_SIGN = 0.5
_TRAPS = {
    TrapCode.INTERRUPT: RunnerExit.DEADLINE,
    TrapCode.OUT_OF_FUEL: RunnerExit.OUT_OF_FUEL,
}


@dataclass(frozen=True)
class HostCall:
    """A function for modules: `do` takes their memory and `arity` numbers of 32 bits, and returns one."""

    arity: int
    do: Callable[..., int]


@dataclass(frozen=True)
class Sandbox:
    """What every run of a module gets. `directories` are (on the node, inside, writable), `memory` is in bytes."""

    name: str
    args: Sequence[str]
    environment: Mapping[str, str]
    directories: Sequence[tuple[str, str, bool]]
    memory: int | None
    fuel: int | None
    interruptible: bool


class Window:
    """A module's memory during one call of the host. Outside of it there is a Failure, which ends the run."""

    def __init__(self, caller: Caller, what: str) -> None:
        memory = caller.get("memory")
        if not isinstance(memory, Memory):
            raise Failure(RunnerExit.TRAP, f"{what}: the module exports no memory")
        self._caller = caller
        self._memory = memory
        self._what = what

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`, both as the module's unsigned numbers."""
        start, length = self._span(start, length)
        return bytes(self._memory.read(self._caller, start, start + length))

    def write(self, start: int, data: bytes) -> None:
        """Puts `data` at `start`."""
        start, _ = self._span(start, len(data))
        if data:
            self._memory.write(self._caller, data, start)

    def _span(self, start: int, length: int) -> tuple[int, int]:
        start, length = start & 0xFFFFFFFF, length & 0xFFFFFFFF
        if start + length > self._memory.data_len(self._caller):
            raise Failure(RunnerExit.TRAP, f"{self._what}: address and length lie outside the memory")  # fmt: skip
        return start, length


class Machine:
    """One compiled module: `link` it, then `run` it as often as you like. Raises Failure with words for people."""

    def __init__(self, path: Path, sandbox: Sandbox, cache: CompileCache) -> None:
        self._path = path
        self._sandbox = sandbox
        config = Config()
        config.epoch_interruption = sandbox.interruptible
        config.consume_fuel = sandbox.fuel is not None
        config.wasm_multi_memory = False
        self._engine = Engine(config)
        self._module = self._compiled(cache)
        self.asks_for = {each.name for each in self._module.imports if each.module == _OURS}
        self._check_start()
        self._store: Store | None = None
        self._linker = Linker(self._engine)

    def link(self, calls: Mapping[str, HostCall]) -> None:
        """Gives the module WASI and `calls`, by their names in the module «skerry»."""
        self._linker.define_wasi()
        number = ValType.i32
        for name, call in calls.items():
            kind = FuncType([number() for _ in range(call.arity)], [number()])
            called = _called(f"{_OURS}.{name}", call)
            self._linker.define_func(_OURS, name, kind, called, access_caller=True)
        try:
            self._linker.instantiate_pre(self._module)
        except WasmtimeError as error:
            first, _, rest = str(error).strip().partition("\n")
            known = ", ".join(f"{_OURS}.{name}" for name in calls)
            raise Failure(
                RunnerExit.WRONG_IMPORTS,
                f"cannot run module {self._path}: {one_line(first)}. There are {_WASI} and {known}.",
                rest,
            ) from error

    def run(self, stdin: str = "/dev/null", output: Callable[[bytes], None] | None = None) -> int:
        """Runs `_start` in a fresh instance to its end; returns the module's exit code. Raises Failure.

        Standard output goes to `output` as it is written, else to the runner's own.
        """
        sandbox = self._sandbox
        store = Store(self._engine)
        store.set_limits(
            memory_size=-1 if sandbox.memory is None else sandbox.memory,
            table_elements=_TABLE_ELEMENTS,
        )
        if sandbox.fuel is not None:
            store.set_fuel(sandbox.fuel)
        if sandbox.interruptible:
            store.set_epoch_deadline(1)
        store.set_wasi(self._wasi(stdin, output))
        self._store = store
        try:
            return self._start(store)
        finally:
            self._store = None
            store.close()

    def interrupt(self) -> None:
        """Ends the run that is under way, from any thread, as soon as the module computes."""
        self._engine.increment_epoch()

    def refuel(self) -> None:
        """Gives the run that is under way its fuel anew."""
        if self._sandbox.fuel is not None and self._store is not None:
            self._store.set_fuel(self._sandbox.fuel)

    def _start(self, store: Store) -> int:
        memory: Memory | None = None
        try:
            instance = self._linker.instantiate(store, self._module)
            exports = instance.exports(store)
            found = exports.get("memory")
            memory = found if isinstance(found, Memory) else None
            start = exports["_start"]
            assert isinstance(start, Func)  # noqa: S101 - checked before the first run
            start(store)
        except ExitTrap as ended:
            return ended.code
        except (Trap, WasmtimeError) as error:
            used = 0 if memory is None else memory.data_len(store)
            raise self._failure(error, used) from error
        return 0

    def _failure(self, error: Trap | WasmtimeError, used: int) -> Failure:
        """A module alone learns that its memory cannot grow, so much memory at a trap is the sign of it."""
        code = RunnerExit.TRAP
        if isinstance(error, Trap) and error.trap_code is not None:
            code = _TRAPS.get(error.trap_code, code)
        limit = self._sandbox.memory
        cause = str(error).strip().rpartition("\n")[2].strip()
        if (
            code is RunnerExit.TRAP
            and limit is not None
            and ("exceeds memory limits" in cause or used >= limit * _MEMORY_SIGN)
        ):
            code = RunnerExit.OUT_OF_MEMORY
            cause = f"{cause} ({used} of {limit} bytes of memory in use)"
        text = f"the module was ended, {REASONS[code]}: {one_line(cause)}"
        return Failure(code, text, str(error))

    def _compiled(self, cache: CompileCache) -> Module:
        binary = self._binary()
        sandbox = self._sandbox
        kind = f"{sandbox.interruptible} {sandbox.fuel is not None} ".encode()
        key = hashlib.sha256(kind + binary).hexdigest()
        stored = cache.read(key)
        if stored is not None:
            with contextlib.suppress(WasmtimeError):  # of another version of wasmtime
                return Module.deserialize(self._engine, stored)
        try:
            module = Module(self._engine, binary)
        except WasmtimeError as error:
            raise self._unfit(str(error)) from error
        try:
            cache.put(key, bytes(module.serialize()))
        except OSError as error:
            say(f"cannot keep the compiled module: {error.strerror}. It is compiled at each start.")
        return module

    def _binary(self) -> bytes:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise Failure(RunnerExit.NO_MODULE, f"cannot read module {self._path}: {error.strerror}") from error  # fmt: skip
        if content.startswith(b"\0asm"):
            return content
        if self._path.suffix != ".wat":
            raise self._unfit("it does not begin as one does. Text modules have names that end with .wat")  # fmt: skip
        try:
            return bytes(wat2wasm(content))
        except (WasmtimeError, UnicodeDecodeError) as error:
            raise self._unfit(str(error)) from error

    def _unfit(self, cause: str) -> Failure:
        first, _, rest = cause.strip().partition("\n")
        last = rest.rpartition("\n")[2].strip() if "Caused by" in rest else ""
        text = f"cannot use {self._path} as a WebAssembly module: {one_line(last or first)}"
        return Failure(RunnerExit.NO_MODULE, text, rest)

    def _check_start(self) -> None:
        for each in self._module.exports:
            kind = each.type
            if each.name != "_start" or not isinstance(kind, FuncType):
                continue
            if not kind.params and not kind.results:
                return
        raise Failure(
            RunnerExit.NO_START,
            f"cannot run module {self._path}: it exports no function «_start» without arguments and results. "
            "Build it as a program (WASI command), not as a library.",
        )

    def _wasi(self, stdin: str, output: Callable[[bytes], None] | None) -> WasiConfig:
        sandbox = self._sandbox
        wasi = WasiConfig()
        wasi.argv = [sandbox.name, *sandbox.args]
        wasi.env = list(sandbox.environment.items())
        wasi.stdin_file = stdin
        if output is None:
            wasi.inherit_stdout()
        else:
            wasi.stdout_custom = output
        wasi.inherit_stderr()
        for place, inside, writable in sandbox.directories:
            try:
                wasi.preopen_dir(place, inside, writable)
            except WasmtimeError as error:
                text = f"cannot open directory {place} for the module. Make it on the node, or correct wasm.directories."
                raise Failure(RunnerExit.NO_DIRECTORY, text) from error
        return wasi


def _called(what: str, call: HostCall) -> Callable[..., int]:
    def called(caller: Caller, *arguments: int) -> int:
        return call.do(Window(caller, what), *arguments)

    return called
