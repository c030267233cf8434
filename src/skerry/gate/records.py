"""`typing.NamedTuple` without `typing`, whose import is a tenth of the gate's memory."""

from __future__ import annotations

from collections import namedtuple

__all__ = ["NamedTuple"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _Record(type):
        """Of `NamedTuple` alone: a class below it is a named tuple of what its body annotates."""

        def __new__(cls, name: str, _bases: tuple[type, ...], body: dict[str, object]) -> type:
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            base = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            return type(name, (base,), body | {"__slots__": ()})

    NamedTuple = type.__new__(_Record, "NamedTuple", (), {})
