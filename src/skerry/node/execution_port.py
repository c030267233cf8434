"""A command beside a workload's processes, as runtimes start it and `access.executions` serves it. In neither's words but these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from skerry.kit.errors import Refused
from skerry.wire.executions import Ending, Size, Wish

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes by which shells say it."""


class NoProgram(Refused):
    """The program cannot be run; `code` is what a shell would exit with."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


Send = Callable[[bytes, int], Awaitable[None]]
"""Takes output and its stream; returns when there is room for more."""


class Execution(Protocol):
    """A command that runs. Whoever has it closes it."""

    async def output(self, send: Send) -> None:
        """Passes on what it prints; returns at the end of it."""
        ...

    async def input(self, data: bytes) -> None:
        """Returns when the command, or its pipe, has taken it; what nobody reads any more is dropped."""
        ...

    async def end_input(self) -> None:
        """Nothing more comes."""
        ...

    async def resize(self, size: Size) -> None:
        """The window of its terminal has changed; nothing without one."""
        ...

    async def ended(self) -> Ending:
        """Returns when it has ended. Raises Transient when nobody can say any more how."""
        ...

    async def close(self) -> None:
        """Ends it and all that it has started, if it has not ended."""
        ...


class Executing(Protocol):
    """Starts commands beside workloads (`execution_desk`)."""

    async def begin(self, workload: str, wish: Wish) -> Execution:
        """Raises NotFound, Refused, InvalidInput or Transient: nothing was started."""
        ...
