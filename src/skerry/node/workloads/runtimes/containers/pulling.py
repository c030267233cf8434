"""What one pull or load says: its progress, why it failed, and in which words people hear of it. Pure."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from skerry.kit.units import format_size
from skerry.node.workloads.runtimes.containers.answers import PullLine

LOAD = "Load it with: skerry image load FILE"

_NO_ROOM = re.compile(r"no space left|disk quota exceeded", re.IGNORECASE)
_ANSWERED = re.compile(
    r"manifest unknown|manifest for .* not found|repository .* not found|name unknown|access denied|denied:|"
    r"unauthorized|authentication required|forbidden|no basic auth|invalid username/password|"
    r"toomanyrequests|no matching manifest|no image found in|does not exist or|unsupported media type|"
    r"cannot use the password",
    re.IGNORECASE,
)
"""The registry's own refusals, as Docker and Podman pass them on, or ours; anything else is the way to it."""

_NO_ARCHIVE = re.compile(
    r"does not match any of the supported image formats|invalid tar header|unexpected EOF|"
    r"docker-import-\d+/.*no such file"
)
"""Podman about any file that it cannot load; Docker about what is no archive, is cut, or holds other files."""


class Progress(msgspec.Struct):
    """Bytes of each layer of one pull, as far as the engine has told."""

    layers: dict[str, tuple[int, int]] = {}
    """(here, in all) by layer; 0 in all: not told yet."""
    complete: set[str] = set()
    cut: set[str] = set()
    """Layers whose download broke off and that the engine is about to go on with."""

    def take(self, line: PullLine) -> None:
        """Counts one line of the engine's."""
        if not line.id:
            return
        _, known = self.layers.get(line.id, (0, 0))
        self.cut.discard(line.id)
        if line.status == "Pulling fs layer":
            self.layers.setdefault(line.id, (0, 0))
        elif line.status.startswith("Retrying"):
            self.cut.add(line.id)
        elif line.status == "Downloading" and line.progress.total:
            # A download that was cut goes on with the bytes that are left, and counts only those.
            total = max(known, line.progress.total)
            self.layers[line.id] = (total - line.progress.total + line.progress.current, total)
        elif line.status in {"Download complete", "Pull complete", "Already exists"}:
            self.layers[line.id] = (known, known)
            self.complete.add(line.id)

    @property
    def bytes(self) -> tuple[int, int]:
        """(here, in all), of the layers that are known so far."""
        return sum(current for current, _ in self.layers.values()), sum(
            total for _, total in self.layers.values()
        )

    def meta(self) -> dict[str, bool | int | float | str]:
        """For an event."""
        here, whole = self.bytes
        return {
            "bytes": here,
            "bytes_total": whole,
            "layers": len(self.complete),
            "layers_total": len(self.layers),
        }

    def __str__(self) -> str:
        """«12 MB of 40 MB, 2 of 5 layers»."""
        if not self.layers:
            return "waiting for the registry"
        here, whole = self.bytes
        layers = f"{len(self.complete)} of {len(self.layers)} layers"
        cut = "; the download was cut, the engine tries again" if self.cut else ""
        return f"{format_size(here)} of {format_size(whole)}, {layers}{cut}"


def why_missing(image: str, words: str, tries: int) -> str:
    """What keeps a workload from its image, after so many pulls, of which the last one failed with these words."""
    count = f"{tries} tries" if tries != 1 else "1 try"
    if has_no_room(words):
        return (
            f"image {image} cannot be stored: no space left on the engine's disk ({count}). "
            "Make room there; it goes on by itself"
        )
    if registry_answered(words):
        return f"image {image} is not on this node and cannot be pulled ({count}): {words}. {LOAD}"
    return f"image {image} is not on this node and the registry did not answer ({count}). {LOAD}"


def why_not_loaded(archive: Path, words: str) -> str:
    """What the engine's refusal to load this file means."""
    if _NO_ARCHIVE.search(words) and not has_no_room(words):
        return (
            f"cannot load {archive}: it is no image archive, or not a whole one. "
            "Write one with «docker save -o FILE IMAGE» or «podman save -o FILE IMAGE»."
        )
    return f"cannot load {archive}: {words}"


def has_no_room(words: str) -> bool:
    """Whether the engine's disk is full."""
    return _NO_ROOM.search(words) is not None


def registry_answered(words: str) -> bool:
    """Whether a failed pull was the registry's own no, and not the way to it."""
    return _ANSWERED.search(words) is not None


def is_rare(tries: int) -> bool:
    """The 1st, 2nd, 4th, 8th …: an outage may last for days."""
    return tries.bit_count() == 1
