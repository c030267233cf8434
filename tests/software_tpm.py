"""Debian's software TPM on loopback, for tests of keys that a TPM releases."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_pair


@contextlib.contextmanager
def software_tpm(state: Path) -> Iterator[None]:
    """What runs inside, and its children, find it by TPM2TOOLS_TCTI."""
    port = free_pair()
    words = (
        "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear",
        "--server", f"type=tcp,bindaddr=127.0.0.1,port={port}",
        "--ctrl", f"type=tcp,bindaddr=127.0.0.1,port={port + 1}",
    )  # fmt: skip
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
    ):
        patch.setenv("TPM2TOOLS_TCTI", f"swtpm:host=127.0.0.1,port={port}")
        try:
            _wait_for_tpm()
            yield
        finally:
            process.terminate()


def _wait_for_tpm() -> None:
    deadline = time.monotonic() + 60
    while subprocess.run(["tpm2_getrandom", "1"], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)
