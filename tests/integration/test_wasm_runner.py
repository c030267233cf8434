"""The runner of WebAssembly modules under a real keeper: what a module gets, how it ends, and what it never reaches."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry.kit.errors import Refused
from skerry.node.ports import WasmLaunch
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.node.workloads.runtimes.wasm import check_module
from skerry.testing.exits import Exits
from skerry.testing.wasm_device import EXITS, WasmDevice
from skerry.wire.wasm import RunnerExit, explained
from skerry.wire.workload import Exit

PAGE = 64 * 1024

WASI = """
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""
"""Memory below 1024 is for calls."""


def wasi(body: str) -> str:
    return f"(module {WASI} {body})"


ARGS_AND_ENVIRONMENT = wasi("""
  (func (export "_start")
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (drop (call $args (i32.const 1024) (i32.const 4096)))
    (call $print (i32.const 4096) (i32.load (i32.const 20)))
    (drop (call $env_sizes (i32.const 16) (i32.const 20)))
    (drop (call $env (i32.const 1024) (i32.const 8192)))
    (call $print (i32.const 8192) (i32.load (i32.const 20))))
""")

ENDLESS = wasi('(func (export "_start") (loop $l (br $l)))')
SLEEPS = wasi("""
  (func (export "_start")
    (i64.store (i32.const 24) (i64.const 100000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
""")
BOMB = wasi("""
  (func (export "_start")
    (loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable)
""")
TRAPS = wasi('(func (export "_start") (drop (i32.div_u (i32.const 1) (i32.const 0))))')

ECHO = wasi("""
  (func (export "_start")
    (loop $l
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (call $print (i32.const 1024) (i32.load (i32.const 8)))
      (br $l)))
""")
"""Standard input to standard output."""


def opens(path: str, *, create: bool = False) -> str:
    """Opens `path` below the first directory and ends with the errno; 76 is «not capable», 44 «no such file»."""
    return wasi(f"""
  (data (i32.const 1024) "{path}")
  (func (export "_start")
    (call $exit (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (i32.const {len(path)})
      (i32.const {1 if create else 0}) (i64.const {66 if create else 2}) (i64.const 0) (i32.const 0) (i32.const 512))))
""")


@pytest.fixture
async def device(short_dir: Path) -> AsyncIterator[WasmDevice]:
    found = WasmDevice(short_dir)
    yield found
    await found.end()


@pytest.fixture
def exits() -> Exits:
    return Exits()


@pytest.fixture
async def runtime(device: WasmDevice, exits: Exits) -> Runtimes:
    router = device.router(device.agent())
    await router.connect(exits)
    return router


async def ended(runtime: Runtimes, exits: Exits, launch: WasmLaunch) -> Exit:
    await runtime.start(launch)
    return explained(await exits.of(launch.instance))


def printed(device: WasmDevice, stream: str = "stdout") -> str:
    """What the module wrote, whatever lines it was logged in."""
    lines = [line.split(" ", 3) for line in device.log_text().splitlines() if line.strip()]
    return "\n".join(line[3] for line in lines if line[1] == stream)


async def test_a_module_sees_its_arguments_and_its_own_environment_and_nothing_else(
    device: WasmDevice, runtime: Runtimes, exits: Exits
) -> None:
    launch = device.module(
        ARGS_AND_ENVIRONMENT, args=["a b", "c"], env={"PYTHONPATH": "/evil", "HOME": "/x"}
    )
    assert (await ended(runtime, exits, launch)).code == 0
    words = printed(device).split("\0")
    assert words[:3] == ["w.wat", "a b", "c"]
    assert set(words[3:]) - {""} == {
        "PYTHONPATH=/evil",
        "HOME=/x",
        "SKERRY_WORKLOAD=w",
        "SKERRY_NODE=n1",
        f"SKERRY_INSTANCE={launch.instance}",
    }


@pytest.mark.parametrize(
    ("text", "fields", "code", "reason", "said"),
    [
        (EXITS.replace("CODE", "3"), {}, 3, "", ""),
        (EXITS.replace("CODE", "213"), {}, RunnerExit.TRAP, "trap", "invalid exit status"),
        (TRAPS, {}, RunnerExit.TRAP, "trap", "integer divide by zero"),
        (ENDLESS, {"deadline": 0.2}, RunnerExit.DEADLINE, "deadline", "interrupt"),
        (SLEEPS, {"deadline": 1.0}, RunnerExit.DEADLINE, "deadline", "waited for longer than 1"),
        (ENDLESS, {"mode": "worker", "deadline": 0.2}, RunnerExit.DEADLINE, "deadline", "interrupt"),
        (ENDLESS, {"fuel": 1_000_000}, RunnerExit.OUT_OF_FUEL, "out of fuel", "all fuel consumed"),
        (BOMB, {"memory": 16 << 20}, RunnerExit.OUT_OF_MEMORY, "out of memory", "(15859712 of 16777216 bytes of memory in use)"),
        ("(module (memory 1000) (func (export \"_start\")))", {"memory": 16 << 20}, RunnerExit.OUT_OF_MEMORY, "out of memory", "exceeds memory limits"),
        ("(module (func", {}, RunnerExit.NO_MODULE, "not a WebAssembly module", "expected `)`"),
        (b"\0asm\x01\0\0\0garbage", {}, RunnerExit.NO_MODULE, "not a WebAssembly module", "unexpected end-of-file"),
        ('(module (import "env" "now" (func)) (func (export "_start")))', {}, RunnerExit.WRONG_IMPORTS, "imports what there is not", "env::now"),
        ('(module (func (export "main")))', {}, RunnerExit.NO_START, "no _start", "exports no function «_start»"),
    ],
    ids=["code", "a code of ours", "trap", "loop", "sleep", "loop of a worker", "fuel", "bomb", "large from the start", "text", "body", "imports", "library"],
)  # fmt: skip
async def test_every_end_has_its_reason(  # noqa: PLR0917 - parametrized
    device: WasmDevice,
    runtime: Runtimes,
    exits: Exits,
    text: str | bytes,
    fields: dict[str, object],
    code: int,
    reason: str,
    said: str,
) -> None:
    exit_ = await ended(runtime, exits, device.module(text, **fields))  # type: ignore[arg-type]
    assert (exit_.code, exit_.reason) == (code, reason)
    last = printed(device, "stderr").splitlines()[-1:]
    assert all(said in line and line.startswith("skerry: ") for line in last)
    assert bool(last) == bool(said)
    assert "Traceback" not in device.log_text()


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (b"\x7fELF", {}, "is no WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", {}, "is a component. Build it for wasm32-wasip1"),
        (None, {}, "does not exist. Copy it to the node"),
        (b"\0asm\x01\0\0\0", {"directories": ["/no/such:/data"]}, "directory /no/such does not exist"),
    ],
    ids=["other", "component", "missing", "directory"],
)  # fmt: skip
async def test_what_cannot_be_started_is_refused_at_once(
    device: WasmDevice,
    runtime: Runtimes,
    content: bytes | None,
    fields: dict[str, object],
    said: str,
) -> None:
    path = device.directory / "m.wasm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refused, match="cannot start workload «w»: ") as caught:
        await runtime.start(device.of_file(str(path), **fields))  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_a_node_without_the_library_says_how_to_get_it(device: WasmDevice) -> None:
    with pytest.raises(Refused) as caught:
        check_module(device.waits(), device.directory, runtime="no_such_library")
    assert str(caught.value) == (
        "cannot start workload «w»: this node has no WebAssembly runtime. Install the Debian package skerry-wasm; "
        "where Skerry runs from its checkout, run «make install» there and start the node anew"
    )


async def test_a_runner_that_has_lost_the_library_says_so_in_one_line(
    device: WasmDevice, runtime: Runtimes, exits: Exits
) -> None:
    launch = device.waits()
    hide = "import sys; sys.modules['wasmtime'] = None; from skerry.runners.wasm.main import main; main()"
    hidden = replace(launch, command=(sys.executable, "-I", "-c", hide, launch.command[-1]))
    exit_ = await ended(runtime, exits, hidden)
    assert exit_.reason == "no WebAssembly runtime"
    assert printed(device, "stderr").startswith(
        "skerry: this node has no WebAssembly runtime. Install"
    )
    assert len(device.printed()) == 1


async def test_what_a_module_can_write_is_not_run_by_its_runner(
    device: WasmDevice, runtime: Runtimes, exits: Exits
) -> None:
    launch = device.module(EXITS.replace("CODE", "0"))
    site = f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (launch.directory / site).mkdir(parents=True)
    for name in ("msgspec.py", "wasmtime.py", f"{site}/usercustomize.py"):
        (launch.directory / name).write_text("print('got out')")
    assert (await ended(runtime, exits, launch)).code == 0
    assert device.printed() == []


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        ("inside", 0),
        ("sub/../inside", 0),
        ("../secret", 63),
        ("sub/../../secret", 63),
        ("/etc/shadow", 63),
        ("link", 63),
        ("linked/secret", 63),
        ("nothing", 44),
    ],
)
async def test_no_file_outside_the_directories(
    device: WasmDevice, runtime: Runtimes, exits: Exits, tmp_path: Path, path: str, errno: int
) -> None:
    data = a_directory(tmp_path)
    launch = device.module(opens(path), directories=[f"{data}:/data"])
    assert (await ended(runtime, exits, launch)).code == errno


def a_directory(around: Path) -> Path:
    """Beside a secret, with links out of it."""
    data = around / "data"
    (data / "sub").mkdir(parents=True)
    (data / "inside").write_text("x")
    (around / "secret").write_text("x")
    (data / "link").symlink_to("../secret")
    (data / "linked").symlink_to(around)
    return data


async def test_the_nodes_own_data_is_shown_to_no_module(
    device: WasmDevice, runtime: Runtimes, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(device.directory)
    for path in (device.directory, device.directory / "run", device.directory.parent, link):
        with pytest.raises(Refused, match=f"wasm.directories cannot name {path}: the node's own"):
            await runtime.start(device.module(opens("x"), directories=[f"{path}:/data:ro"]))


async def test_a_read_only_directory_is_read_only(
    device: WasmDevice, runtime: Runtimes, exits: Exits, tmp_path: Path
) -> None:
    data = a_directory(tmp_path)
    readable = device.module(opens("new", create=True), directories=[f"{data}:/data:ro"])
    assert (await ended(runtime, exits, readable)).code not in {0, None}
    assert not (data / "new").exists()
    writable = device.module(opens("new", create=True), directories=[f"{data}:/data"])
    assert (await ended(runtime, exits, writable)).code == 0
    assert (data / "new").exists()


async def test_without_directories_there_is_no_file_at_all(
    device: WasmDevice, runtime: Runtimes, exits: Exits
) -> None:
    assert (await ended(runtime, exits, device.module(opens("/etc/passwd")))).code == 8  # EBADF


@pytest.mark.parametrize(
    "wanted",
    [
        '"wasi_snapshot_preview1" "sock_open"',
        '"wasi_snapshot_preview1" "sock_connect"',
        '"wasi_snapshot_preview1" "proc_fork"',
        '"wasi_snapshot_preview1" "proc_exec"',
        '"wasi" "thread-spawn"',
    ],
)
async def test_there_is_no_socket_no_process_and_no_thread(
    device: WasmDevice, runtime: Runtimes, exits: Exits, wanted: str
) -> None:
    text = f'(module (import {wanted} (func (param i32))) (func (export "_start")))'
    exit_ = await ended(runtime, exits, device.module(text))
    assert exit_.reason == "imports what there is not"


async def test_the_cache_is_used_but_trusted_only_while_it_is_whole_and_private(
    device: WasmDevice, runtime: Runtimes, exits: Exits
) -> None:
    three, seven = EXITS.replace("CODE", "3"), EXITS.replace("CODE", "7")
    other = device.module(seven, workload="other")
    assert (await ended(runtime, exits, other)).code == 7
    [foreign] = (device.directory / "wasm/other").iterdir()
    assert (await ended(runtime, exits, device.module(three))).code == 3
    [own] = (device.directory / "wasm/w").iterdir()
    good = own.read_bytes()
    assert own.stat().st_mode & 0o777 == 0o600

    own.write_bytes(foreign.read_bytes())
    assert (await ended(runtime, exits, device.module(three))).code == 7, "it is what is run"
    own.parent.chmod(0o777)
    assert (await ended(runtime, exits, device.module(three))).code == 3, "others could write here"
    own.parent.chmod(0o700)
    places = range(16, len(good), len(good) // 9)
    flipped = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in places]
    for damaged in (*flipped, good[:-1], b"", good[:32]):
        own.write_bytes(damaged)
        assert (await ended(runtime, exits, device.module(three))).code == 3
        assert own.read_bytes() == good, "compiled again"
    assert (await ended(runtime, exits, device.module(seven))).code == 7
    assert own not in own.parent.iterdir(), "a new module takes the old one's place"
