"""What `skerry up` is doing at the moment."""

from __future__ import annotations

from types import TracebackType

from rich.status import Status

from skerry.cli.output import Screen


class Progress:
    """The current step: one changing line on a terminal, a line for each step elsewhere."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def step(self, text: str) -> None:
        """Shows what is being done now."""
        if not self._screen.notes.is_terminal:
            self._screen.note(f"{text} …")
        elif self._status is None:
            self._status = self._screen.notes.status(f"{text} …")
            self._status.start()
        else:
            self._status.update(f"{text} …")

    def pause(self) -> None:
        """Removes the line until the next step."""
        if self._status is not None:
            self._status.stop()
            self._status = None
