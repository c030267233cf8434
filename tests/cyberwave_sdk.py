"""Cyberwave's own SDK for tests, in a virtual environment of its own: `.venv-cyberwave`, by requirements/cyberwave.txt.

Nothing of it is imported here: what a test wants of it runs in a process of that environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "cyberwave"
VENV = ROOT / ".venv-cyberwave"
PYTHON = VENV / "bin" / "python"


class Sdk:
    """The installed SDK."""

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        [found] = VENV.glob("lib/python3*/site-packages")
        return found

    def words(self, *arguments: str | Path) -> list[str]:
        """A command of its Python."""
        return [str(PYTHON), *map(str, arguments)]

    def ask(self, script: str, question: object) -> Any:
        """What a script answers, which reads one JSON text and prints one; it sees no settings of this machine."""
        done = subprocess.run(
            self.words("-I", "-c", script),
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def cyberwave_sdk() -> Sdk:
    """Installed, if it was not: once for all processes of a test run."""
    subprocess.run([ROOT / "tools" / "cyberwave_sdk", sys.executable], check=True, timeout=600)
    return Sdk()


def documented_driver() -> str:
    """The driver of docs/reference/cyberwave-drivers.md, as newcomers copy it."""
    page = (ROOT / "docs" / "reference" / "cyberwave-drivers.md").read_text()
    return page.partition("```python\n")[2].partition("```")[0]
