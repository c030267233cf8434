"""Runs the scripts of a worker group in one process: `python -m skerry.runners.worker DIRECTORY [PATTERN]`.

Each script (a file that fits PATTERN and does not begin with «_» or «.») runs once, as a program of its own name would:
`__name__` is «__main__», the directory is on the module path, and it has a thread to itself. When all have returned the
process ends with code 0. An error in one of them, or in reading it, names the file and ends the process with code 1, so
that the workload's restart policy applies; `sys.exit(CODE)` ends one script, and with a code above 0 all of them.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import traceback
import types
from fnmatch import fnmatchcase
from pathlib import Path

PATTERN = "*.py"
FAILED = 1
NO_SCRIPT = 2
TERMINATED = 128 + signal.SIGTERM


def scripts_of(directory: Path, pattern: str) -> list[Path]:
    """The scripts of a directory, by name."""
    return sorted(
        path
        for path in directory.iterdir()
        if fnmatchcase(path.name, pattern)
        and not path.name.startswith((".", "_"))
        and path.is_file()
    )


def run_script(path: Path) -> int:
    """Runs one script to its end and returns its exit code; raises what it raises."""
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the purpose
    except SystemExit as wish:
        if isinstance(wish.code, str):
            _say(wish.code)
        return wish.code if isinstance(wish.code, int) else int(wish.code is not None)
    return 0


def run(directory: Path, pattern: str) -> int:
    """Runs every script of the directory; returns when all have ended or one has failed."""
    scripts = scripts_of(directory, pattern)
    if not scripts:
        _say(f"cannot find a script in {directory} that fits «{pattern}»")
        return NO_SCRIPT
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(directory))
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(script: Path) -> None:
        codes.put(run_script(script))

    own = [
        threading.Thread(target=work, args=(script,), name=script.name, daemon=True)
        for script in scripts
    ]

    def failed(raised: threading.ExceptHookArgs) -> None:
        """Also called for threads that scripts have made: there it is told, and nothing ends."""
        traceback.print_exception(raised.exc_type, raised.exc_value, raised.exc_traceback)
        if raised.thread in own:
            name = raised.thread.name
            _say(f"script {name} failed: {raised.exc_type.__name__}: {raised.exc_value}")
            codes.put(FAILED)

    threading.excepthook = failed
    for thread in own:
        thread.start()
    return next((code for code in (codes.get() for _ in own) if code), 0)


def _terminated(_number: int, _frame: object) -> None:
    """An exit and no sudden death, so that what scripts have registered with `atexit` runs."""
    raise SystemExit(TERMINATED)


def _say(words: str) -> None:
    sys.stderr.write(f"worker: {words}\n")
    sys.stderr.flush()


def main(words: list[str]) -> int:
    """The command line."""
    signal.signal(signal.SIGTERM, _terminated)
    directory, *rest = words
    sys.argv = [directory]
    return run(Path(directory), rest[0] if rest else PATTERN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
