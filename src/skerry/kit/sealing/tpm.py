"""A key sealed by this device's TPM 2.0.

The sealed object belongs to the owner hierarchy's primary key, so it loads on this TPM only; with PCRs, only while
they are unchanged.
"""

from __future__ import annotations

from skerry.kit.tpm_tools import Tools, tools

_ADVICE = "Nothing was touched. The key is released by the TPM that sealed it, and with the PCRs that it was bound to."


def seal(secret: bytes, pcrs: str) -> tuple[bytes, bytes]:
    """Public and private part of a new sealed object; `pcrs` as «sha256:0,7», empty for none. Raises Refused."""
    with tools(_ADVICE) as tpm:
        _primary(tpm)
        policy: list[str] = []
        if pcrs:
            tpm.run("tpm2_createpolicy", "-Q", "--policy-pcr", "-l", pcrs, "-L", "policy")
            policy = ["-L", "policy", "-a", "fixedtpm|fixedparent|noda"]
        tpm.run(
            "tpm2_create", "-Q", "-C", "primary", "-g", "sha256", "-u", "public", "-r", "private", "-i", "-",
            *policy, content=secret,
        )  # fmt: skip
        return (tpm.place / "public").read_bytes(), (tpm.place / "private").read_bytes()


def unseal(public: bytes, private: bytes, pcrs: str) -> bytes:
    """What was sealed. Raises Refused: another TPM, changed PCRs, or no TPM at all."""
    with tools(_ADVICE) as tpm:
        (tpm.place / "public").write_bytes(public)
        (tpm.place / "private").write_bytes(private)
        _primary(tpm)
        tpm.run("tpm2_load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "sealed")
        return tpm.run(
            "tpm2_unseal", "-Q", "-c", "sealed", *(["-p", f"pcr:{pcrs}"] if pcrs else [])
        )


def _primary(tpm: Tools) -> None:
    tpm.run("tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", "primary")
