"""What the runtime of containers tells to whoever fetches their images."""

from __future__ import annotations

from typing import Protocol

from skerry.kit.bell import Bell


class ImageNeeds(Protocol):
    """What of `images` must hear what the runtime finds out."""

    changed: Bell
    """Rung when a container's health has changed, too."""

    def look_again(self) -> None:
        """The engine is back."""
        ...

    def gone(self, name: str) -> None:
        """The engine does not have this image any more."""
        ...
