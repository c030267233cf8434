"""What a command works with: the screen, the clock, and the hub and node that the command line means.

`@remote` gives a command, a coroutine function, the options --context, --hub, --token-file, --data-dir and --output,
and hands it a Session in their place.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from skerry.cli.contexts import Context, choose, contexts_file, read_contexts
from skerry.cli.exits import INTERRUPTED
from skerry.cli.http import Api, Unreachable, hub_api, node_api
from skerry.cli.output import Form, FormOption, Screen, standard_screen
from skerry.hub import settings as hub_settings
from skerry.hub.api import admin_token
from skerry.kit.clock import Clock, SystemClock
from skerry.node.settings import chosen_data_dir

T = TypeVar("T")
Attempt = Callable[[Api], Awaitable[T]]


@dataclass(frozen=True)
class Session:
    """One command's surroundings."""

    screen: Screen
    clock: Clock
    target: Context

    def hub(self) -> AbstractAsyncContextManager[Api]:
        """The hub that the command means."""
        return hub_api(self.target.hub, self.target.token_file, self.target.ca_file)

    def node(self) -> AbstractAsyncContextManager[Api]:
        """The node that the command means."""
        return node_api(self.target.data_dir)

    def node_lives_here(self) -> bool:
        """Whether there is a node in the data directory, running or not."""
        return self.target.data_dir.is_dir()

    async def hub_first(self, ask_hub: Attempt[T], ask_node: Attempt[T]) -> T:
        """The hub's answer; the node's, saying so, when the hub cannot be reached and there is a node here."""
        return await self._either(
            (self.hub, ask_hub), (self.node, ask_node), self.node_lives_here()
        )

    async def node_first(self, ask_node: Attempt[T], ask_hub: Attempt[T]) -> T:
        """The node's answer; the hub's, saying so, when the node does not run. Without a node here, the hub's."""
        if not self.node_lives_here():
            async with self.hub() as hub:
                return await ask_hub(hub)
        return await self._either((self.node, ask_node), (self.hub, ask_hub), True)

    async def _either(
        self,
        first: tuple[Callable[[], AbstractAsyncContextManager[Api]], Attempt[T]],
        second: tuple[Callable[[], AbstractAsyncContextManager[Api]], Attempt[T]],
        may_fall_back: bool,
    ) -> T:
        try:
            async with first[0]() as api:
                return await first[1](api)
        except Unreachable as error:
            if not may_fall_back:
                raise
            missed = error
        try:
            async with second[0]() as api:
                answer = await second[1](api)
        except Unreachable as error:
            raise Unreachable(
                f"{missed.what} ({missed.cause}) or {error.what}", error.cause, missed.way_out
            ) from error
        self.screen.note(
            f"cannot reach {missed.what} ({missed.cause}): this is only what {api.what} knows"
        )
        return answer


@dataclass(frozen=True)
class Choice:
    """What the shared options say; None where they say nothing."""

    context: str | None = None
    hub: str | None = None
    token_file: Path | None = None
    data_dir: Path | None = None
    output: Form = Form.TABLE


_OPTIONS = {
    "context": Annotated[
        str | None, typer.Option(help="The context to use instead of the current one.")
    ],
    "hub": Annotated[str | None, typer.Option(metavar="URL", help="The hub to ask.")],
    "token_file": Annotated[Path | None, typer.Option(help="The file with the token for the hub.")],
    "data_dir": Annotated[Path | None, typer.Option(help="The data directory of the node to ask.")],
    "output": FormOption,
}


def remote(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a Typer command of a function whose first parameter is the Session."""
    return _typer_command(command, _OPTIONS)


def remote_text(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """As `remote`, for a command whose answer is text in one form only: without --output."""
    return _typer_command(command, {name: _OPTIONS[name] for name in _OPTIONS if name != "output"})


def remote_stranger(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """As `remote`, for a command that shows the hub no token: without --token-file."""
    options = {name: _OPTIONS[name] for name in _OPTIONS if name != "token_file"}
    return _typer_command(command, options, needs_token=False)


def _typer_command(
    command: Callable[..., Coroutine[Any, Any, None]],
    options: Mapping[str, Any],
    *,
    needs_token: bool = True,
) -> Callable[..., None]:
    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    taken = {parameter.name for parameter in own}
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(Choice, name),
            annotation=annotation,
        )
        for name, annotation in options.items()
        if name not in taken
    ]

    def run(**values: Any) -> None:  # noqa: ANN401 - Typer calls it with what the signature says
        choice = Choice(**{p.name: values.pop(p.name) for p in shared})
        with _ending_at_ctrl_c():
            session = open_session(choice, needs_token=needs_token)
            asyncio.run(command(session, **values))

    described: Any = run  # what Typer reads
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    described.__signature__ = inspect.Signature([*keyword_only, *shared])
    described.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
    described.__doc__, described.__name__ = command.__doc__, command.__name__
    return run


@contextmanager
def _ending_at_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once: a thread that looks up a name could not be interrupted, nothing is to be saved."""

    def end(*_: object) -> None:
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def open_session(choice: Choice, *, needs_token: bool = True) -> Session:
    """The surroundings that the options, the contexts file and the defaults make together."""
    contexts = read_contexts(contexts_file(Path.home()))
    target = choose(
        contexts,
        default_target(),
        name=choice.context,
        hub=choice.hub,
        token_file=choice.token_file,
        data_dir=choice.data_dir,
        needs_token=needs_token,
    )
    return Session(standard_screen(choice.output), SystemClock(), target)


def _address_of(hub: hub_settings.HubSettings) -> str:
    """Certificates have names, which `listen` seldom is."""
    if not hub.tls.is_on:
        return f"http://{hub.listen}"
    return hub.address or f"https://{hub.listen}"


def default_target() -> Context:
    """The hub and the node that «skerry hub run» and «skerry node run» start without any settings."""
    hub = hub_settings.hub_settings(hub_settings.find_settings())
    return Context(
        _address_of(hub),
        hub.data_dir / admin_token.FILE_NAME,
        chosen_data_dir({}),
        hub.data_dir,
    )
