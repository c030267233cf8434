"""Features as arguments of routes, without what Litestar does for dependencies that wait for something.

It makes a task for each dependency of a request, which is a quarter of all that a small request costs, and turns
of the event loop besides. Ours are values that are there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.routes import HTTPRoute, WebSocketRoute


def given(value: object) -> Provide:
    """The dependency that is always `value`."""
    return Provide(lambda: value, sync_to_thread=False)


def give(routers: Iterable[Router], features: Mapping[str, object]) -> None:
    """Gives each router those of the features, by name, that its routes ask for.

    Of an application's own dependencies Litestar compares each with each at every route: half of the time that a hub takes
    for its routes.
    """
    for router in routers:
        asked = {
            name
            for function in _functions(router)
            for name in inspect.signature(function).parameters
        }
        for name in asked & features.keys():
            router.dependencies[name] = given(features[name])


def _functions(router: Router) -> Iterator[Callable[..., Any]]:
    """What has arguments: its routes, and what is made of their requests."""
    for handlers in router.route_handler_method_map.values():
        for handler in handlers.values():
            yield handler.fn
    for provided in router.dependencies.values():
        yield provided.dependency if isinstance(provided, Provide) else provided


def resolve_one_by_one(app: Litestar) -> None:
    """Litestar resolves what stands alone in its batch without a task.

    Its batches are no part of its API: a version without them serves as it does. `tests/unit/test_dependencies.py` proves that
    this still works.
    """
    for route in app.routes:
        match route:
            case HTTPRoute():
                models = [model for _, model in route.route_handler_map.values()]
            case WebSocketRoute(handler_parameter_model=model) if model is not None:
                models = [model]
            case _:
                continue
        for model in models:
            if hasattr(model, "dependency_batches"):
                model.dependency_batches = [
                    {each} for batch in model.dependency_batches for each in batch
                ]
