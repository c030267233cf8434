"""What containers' health checks say, in a test's hand: implements `node.workloads.readiness.Health`."""

from __future__ import annotations

from skerry.kit.bell import Bell


class FakeHealth:
    """`say` sets the word of an instance."""

    def __init__(self) -> None:
        self.health_changed = Bell()
        self._words: dict[str, str] = {}

    def say(self, instance: str, word: str) -> None:
        """From now on its health check says this."""
        self._words[instance] = word
        self.health_changed.ring()

    def health(self, instance: str) -> str | None:
        return self._words.get(instance)
