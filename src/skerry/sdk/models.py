"""`@model`: a dataclass whose rows a node keeps, and shares where it is told to. See docs/reference/entities.md.

`skerry.sdk` loads this module when `model` or `repository` is first named, and never for a program that has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.sdk.entity_doors import HubDoor, NodeDoor
from skerry.sdk.model_types import check_model, check_rules
from skerry.sdk.row_codec import Model
from skerry.sdk.settings import socket_path
from skerry.sdk.typed_rows import Conflict, Info, Repository
from skerry.wire.shared import DECLARATIONS, Declaration, FieldRule, Priority, Strategy

__all__ = ["Conflict", "Info", "Repository", "model", "repository"]

T = TypeVar("T")

_MODEL = "__skerry_model__"
_NAME = re.compile(r"[a-z]([a-z0-9_]{0,61}[a-z0-9])?")


def model(  # noqa: PLR0913 - what a declaration says
    *bare: type,
    strategy: Strategy = "last_modified",
    edge_enabled: bool = False,
    edge_strategy: str = "",
    fields: Mapping[str, FieldRule] | None = None,
    keys: Mapping[str, str] | None = None,
    fallback: Literal["last_modified", "central_wins", "edge_wins", "manual"] = "last_modified",
    priority: Priority = "medium",
    batch_size: int = 2500,
    name: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Makes a dataclass with a field `id: str` a model; `repository` then keeps its rows.

    With `edge_enabled` its rows are shared with the hub and all nodes that have the model, else they stay on the node.
    The rest is `wire.shared.Declaration`; `edge_strategy` is kept as given and nothing is done with it. The entity is
    called `name`, or as the class («ShoppingItem» is «shopping_item»). Raises InvalidInput.
    """
    if bare:
        raise InvalidInput(
            "cannot make a model: write @model() with brackets, also where nothing stands in them"
        )
    declaration = _declaration(
        {
            "strategy": strategy, "fallback": fallback, "fields": dict(fields or {}), "keys": dict(keys or {}),
            "priority": priority, "batch_size": batch_size, "edge_strategy": edge_strategy,
        }
    )  # fmt: skip

    def decorate(cls: type[T]) -> type[T]:
        check_model(cls)
        check_rules(cls, declaration)
        entity = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if _NAME.fullmatch(entity) is None or entity == DECLARATIONS:
            raise InvalidInput(
                f"cannot make «{cls.__name__}» a model: «{entity}» is no name of an entity. "
                f"Give one by name=, of small letters, digits and «_», another than «{DECLARATIONS}»."
            )
        setattr(cls, _MODEL, Model(cls, entity, declaration, local=not edge_enabled))
        return cls

    return decorate


def repository(
    cls: type[T],
    *,
    socket: str | None = None,
    hub: str | None = None,
    token: str | None = None,
    timeout: float | None = 30.0,
) -> Repository[T]:
    """The rows of a model: on this node, over the workload's own socket (or `socket`), or at a `hub` with a person's `token`.

    `timeout` is in seconds for each call, None: for ever. Raises InvalidInput for a class that is no model or, at a hub,
    is not shared; Refused in a process that is no workload.
    """
    found = cls.__dict__.get(_MODEL)
    if not isinstance(found, Model):
        raise InvalidInput(
            f"cannot keep rows of «{cls.__name__}»: it is no model. Write @model above it"
        )
    if hub is None:
        return Repository(found, NodeDoor(socket or socket_path(), timeout))
    if token is None or socket is not None:
        raise InvalidInput("cannot reach the hub: give hub= and token=, and no socket=")
    if found.local:
        raise InvalidInput(
            f"cannot use «{found.entity}» at the hub: its rows stay on their node. Decorate with edge_enabled=True"
        )
    return Repository(found, HubDoor(hub, token, timeout))


def _declaration(said: Mapping[str, object]) -> Declaration:
    try:
        return msgspec.convert(said, Declaration)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"cannot make a model: {error}") from error
