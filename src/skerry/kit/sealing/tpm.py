"""A key sealed by this device's TPM 2.0, through tpm2-tools: each call is a few short-lived children.

The sealed object belongs to the owner hierarchy's primary key, so it loads on this TPM only; with PCRs, only while
they are unchanged. The key travels by pipes, never by arguments or files. TPM2TOOLS_TCTI chooses the TPM.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from skerry.kit.errors import Refused

_SECONDS = 60.0


def seal(secret: bytes, pcrs: str) -> tuple[bytes, bytes]:
    """Public and private part of a new sealed object; `pcrs` as «sha256:0,7», empty for none. Raises Refused."""
    with tempfile.TemporaryDirectory(prefix="skerry-tpm-") as directory:
        place = Path(directory)
        _primary(place)
        policy: list[str] = []
        if pcrs:
            _tool(place, "tpm2_createpolicy", "-Q", "--policy-pcr", "-l", pcrs, "-L", "policy")
            policy = ["-L", "policy", "-a", "fixedtpm|fixedparent|noda"]
        _tool(
            place, "tpm2_create", "-Q", "-C", "primary", "-g", "sha256", "-u", "public", "-r", "private", "-i", "-",
            *policy, content=secret,
        )  # fmt: skip
        return (place / "public").read_bytes(), (place / "private").read_bytes()


def unseal(public: bytes, private: bytes, pcrs: str) -> bytes:
    """What was sealed. Raises Refused: another TPM, changed PCRs, or no TPM at all."""
    with tempfile.TemporaryDirectory(prefix="skerry-tpm-") as directory:
        place = Path(directory)
        (place / "public").write_bytes(public)
        (place / "private").write_bytes(private)
        _primary(place)
        load = ("-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "sealed")
        _tool(place, "tpm2_load", *load)
        return _tool(
            place, "tpm2_unseal", "-Q", "-c", "sealed", *(["-p", f"pcr:{pcrs}"] if pcrs else [])
        )


def _primary(place: Path) -> None:
    _tool(
        place, "tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", "primary"
    )


def _tool(place: Path, *words: str, content: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            words, cwd=place, input=content, capture_output=True, timeout=_SECONDS, check=True
        )
        # Without a resource manager nobody else gives these slots back, and there are three.
        subprocess.run(
            ("tpm2_flushcontext", "-t"),  # noqa: S607 - where the system has it
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise Refused(
            f"cannot use the TPM: {error.filename} is not installed. Install tpm2-tools."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Refused(f"cannot use the TPM: {words[0]} did not end") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise Refused(
            f"cannot use the TPM: {words[0]} failed: {said[-1] if said else error.returncode}. Nothing was touched. "
            "The key is released by the TPM that sealed it, and with the PCRs that it was bound to."
        ) from error
    return done.stdout
