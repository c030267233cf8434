"""What a pull says in the log of a driver or worker of Cyberwave's: the lines that people there know. Pure."""

from __future__ import annotations

from typing import Literal

PullStage = Literal["started", "line", "done", "failed", "timed out", "kept"]


def pull_line(stage: PullStage, image: str, text: str = "") -> str:
    """One line. `text` is the engine's own, or why it failed."""
    match stage:
        case "started":
            return f"docker pull started for image {image}"
        case "line":
            return f"docker pull: {text}"
        case "done":
            return f"docker pull completed for image {image}"
        case "failed":
            return f"docker pull failed for image {image}: {text}"
        case "timed out":
            return f"docker pull timed out for image {image}: {text}"
        case "kept":
            return f"WARNING: the image {image} that is here is used: {text}"
