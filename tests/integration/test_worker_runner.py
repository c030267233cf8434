"""The program that runs a directory of scripts, as a process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from skerry.testing.waiting import eventually


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "skerry.runners.worker", str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_every_script_runs_as_a_program_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text("import threading\nmet = threading.Barrier(2)\n")
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            "import _shared, sys\nif __name__ == '__main__':\n"
            f"    _shared.met.wait(60)\n    sys.stdout.write(f'{name} {{__file__}}\\n')\n"
        )
    (tmp_path / ".c.py").write_text("raise Exception")
    (tmp_path / "notes.txt").write_text("(")
    ended = run(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == [
        f"a {tmp_path / 'a.py'}",
        f"b {tmp_path / 'b.py'}",
    ]
    assert not (tmp_path / "__pycache__").exists()


def test_an_error_names_its_file_and_ends_all(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("import signal\nwhile True: signal.pause()\n")
    (tmp_path / "bad.py").write_text("x = 1\nraise ValueError('too hot')\n")
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert f'File "{tmp_path / "bad.py"}", line 2' in ended.stderr
    assert "worker: script bad.py failed: ValueError: too hot\n" in ended.stderr


def test_a_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("def f(:\n")
    ended = run(tmp_path)
    assert ended.returncode == 1
    assert "worker: script torn.py failed: SyntaxError" in ended.stderr


def test_a_script_may_exit_and_its_code_counts_when_it_failed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "b.py").write_text("import sys\nsys.exit()\n")
    assert run(tmp_path).returncode == 0
    (tmp_path / "b.py").write_text("import sys\nsys.exit(7)\n")
    assert run(tmp_path).returncode == 7
    (tmp_path / "b.py").write_text("raise SystemExit('no camera')\n")
    ended = run(tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "worker: no camera\n")


def test_nothing_to_run_is_said(tmp_path: Path) -> None:
    ended = run(tmp_path, "wf_*.py")
    assert ended.returncode == 2
    assert ended.stderr == f"worker: cannot find a script in {tmp_path} that fits «wf_*.py»\n"


async def test_sigterm_ends_it_with_its_exit_functions(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import atexit, signal\natexit.register(print, 'tidied', flush=True)\n"
        "print('up', flush=True)\nwhile True: signal.pause()\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-P", "-m", "skerry.runners.worker", str(tmp_path)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        await eventually(lambda: "up" in log.read_text(), "it runs")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert log.read_text() == "up\ntidied\n"
