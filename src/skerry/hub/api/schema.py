"""The OpenAPI document, made of the registered routes and of the wire types' own JSON schemas.

Litestar could generate one, but it describes array-like Structs as objects and its page loads scripts from a
CDN. Here msgspec describes its types itself, and each route's permission is stated too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.response import Stream
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Empty
from litestar.typing import FieldDefinition

import skerry
from skerry.wire.people import Problem

Json = dict[str, object]

_REFERENCE = "#/components/schemas/{name}"
_SECURITY: Json = {
    "node": {
        "type": "http",
        "scheme": "bearer",
        "description": "«node id».«secret»; where nodes have certificates, one of those instead",
    },
    "person": {
        "type": "http",
        "scheme": "bearer",
        "description": "the administrator's token, or an API token whose role has the permission that is named",
    },
}


class Schemas:
    """Collects the components that the described types refer to."""

    def __init__(self) -> None:
        self.components: Json = {}

    def of(self, annotation: Any) -> Json:  # noqa: ANN401 - any type that msgspec knows
        """The JSON schema of a type, by reference when it is a Struct."""
        [schema], components = msgspec.json.schema_components(
            [annotation], ref_template=_REFERENCE, schema_hook=_unknown
        )
        self.components.update(components)
        return schema


def _unknown(annotation: type) -> Json:
    """`object` stands for any JSON value."""
    if annotation is object:
        return {"description": "any JSON value"}
    raise NotImplementedError


def document(routes: Iterable[BaseRoute]) -> Json:
    """The OpenAPI 3.1 document of all HTTP routes that are meant for programs."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    for path, method, handler in sorted(_operations(routes), key=lambda found: found[:2]):
        paths.setdefault(path, {})[method.lower()] = _operation(handler, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Skerry hub",
            "version": skerry.__version__,
            "description": "Every error is a Problem. Nodes also keep a WebSocket open: /sync/v1/link.",
        },
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _SECURITY},
    }


def _operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.resolve_include_in_schema():
                    for method in handler.http_methods:
                        yield route.path_format, method, handler


def _operation(handler: HTTPRouteHandler, schemas: Schemas) -> Json:
    signature = handler.parsed_fn_signature
    permission = handler.opt["permission"]
    operation: Json = {
        "operationId": handler.handler_name,
        "summary": (handler.fn.__doc__ or "").strip().partition("\n")[0],
        "tags": [permission],
        "security": _security(permission),
        "parameters": list(_parameters(_asked_for(handler), schemas)),
        "responses": {
            str(handler.status_code): _success(handler, signature.return_type.annotation, schemas),
            "default": {"description": "Problem", "content": _json(schemas.of(Problem))},
        },
    }
    body = signature.parameters.get("data")
    if body is not None and isinstance(body.kwarg_definition, BodyKwarg):
        content = _json(schemas.of(body.annotation))
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _security(permission: str) -> list[Json]:
    """A person's permission stands where OpenAPI has the roles that a route needs."""
    match permission:
        case "anyone":
            return []
        case "node" | "renewal":
            return [{"node": []}]
        case _:
            return [{"person": [permission]}]


def _asked_for(handler: HTTPRouteHandler) -> Iterator[tuple[str, FieldDefinition]]:
    """The arguments of a handler, and instead of one that is made of the request those that it is made of."""
    provided = handler.resolve_dependencies()
    for name, field in handler.parsed_fn_signature.parameters.items():
        if name in provided:
            yield from provided[name].parsed_fn_signature.parameters.items()
        else:
            yield name, field


def _parameters(fields: Iterable[tuple[str, FieldDefinition]], schemas: Schemas) -> Iterator[Json]:
    for name, field in fields:
        match field.kwarg_definition:
            case PathParameter():
                place = "path"
            case QueryParameter():
                place = "query"
            case _:
                continue
        schema = schemas.of(field.annotation)
        required = field.default is Empty
        if not required:
            schema = {**schema, "default": field.default}
        yield {"name": name, "in": place, "required": required, "schema": schema}


def _success(handler: HTTPRouteHandler, annotation: Any, schemas: Schemas) -> Json:  # noqa: ANN401 - any return annotation
    if annotation is type(None):
        return {"description": "done"}
    if annotation is Stream:
        return {
            "description": "text, as it comes",
            "content": {str(handler.media_type) or "text/plain": {"schema": {"type": "string"}}},
        }
    # msgspec tells no two Structs apart in one value, but here the question says which of them it is.
    either = annotation.__args__ if isinstance(annotation, UnionType) else [annotation]
    found = [schemas.of(each) for each in either]
    return {
        "description": "done",
        "content": _json(found[0] if len(found) == 1 else {"oneOf": found}),
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
