"""Key rings and ciphers for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.sealing.key_ring import KeyRing, Protection, open_ring
from skerry.kit.sealing.keys import Algorithm, DataClass, DataKey, Rule
from skerry.kit.sealing.sealed import SealingCipher, in_force
from skerry.kit.sealing.sources import Surroundings, parse

RULE = Rule(30 * 86400.0, "AES-256-GCM")


def key(number: int, of: DataClass = "store", algorithm: Algorithm = "AES-256-GCM") -> DataKey:
    return DataKey(number, of, algorithm, 0, bytes([number % 256]) * 32)


def sealing_cipher(*keys: DataKey, plain: bool = False) -> SealingCipher:
    return SealingCipher(in_force(keys or (key(1),), None, plain=plain))


def wanted(source: str = "file", rule: Rule = RULE) -> Protection:
    return Protection(parse(source), rule)


def where(directory: Path, credentials: Path | None = None) -> Surroundings:
    return Surroundings(directory, credentials)


def ring(
    directory: Path,
    source: str = "file",
    *,
    rule: Rule = RULE,
    disk: Disk | None = None,
    clock: Clock | None = None,
    credentials: Path | None = None,
    in_use: Mapping[int, int] | None = None,
) -> KeyRing:
    return open_ring(
        wanted(source, rule),
        where(directory, credentials),
        disk or RealDisk(),
        clock or SystemClock(),
        in_use=lambda: in_use or {},
    )
