"""What a model may be made of, looked at when it is decorated. See docs/reference/entities.md."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Mapping

from skerry.kit.errors import InvalidInput
from skerry.wire.shared import Declaration, FieldRule

_PLAIN = (str, int, float, bool, datetime.datetime)
_ALLOWED = "str, int, float, bool, datetime, enums of texts or whole numbers, dataclasses, lists of these, and None beside one of them"
_NUMBERS = (int, float)
_FITTING: dict[str, tuple[type, ...]] = {
    "sum": _NUMBERS,
    "max": _NUMBERS,
    "min": _NUMBERS,
    "text": (str,),
    "union": (list,),
}
"""The types of fields that a rule can combine; «lww» and «edge» take any."""

Type = typing.Any
"""A type as an annotation has it: no class in general."""


def check_model(cls: type) -> None:
    """Raises InvalidInput for a class that cannot be a model, with the field that keeps it from being one."""
    if not dataclasses.is_dataclass(cls):
        raise _fault(cls, "it is no dataclass. Write @dataclass below @model")
    if "__dict__" not in dir(cls) or hasattr(cls, "__slots__"):
        raise _fault(cls, "it has slots. Leave slots=True out")
    hints = _hints(cls)
    if hints.get("id") is not str:
        raise _fault(cls, "it has no field «id: str». Add «id: str = \"\"»")  # fmt: skip
    _check_class(cls, cls, hints, "", set())


def check_rules(cls: type, declaration: Declaration) -> None:
    """Raises InvalidInput for rules and keys of fields that the class does not have, or that do not fit them."""
    for path, rule in declaration.fields.items():
        _check_rule(cls, path, rule)
    for path, key in declaration.keys.items():
        kind = _at(cls, path)
        element = typing.get_args(kind)[0] if _is_list(kind) else None
        if not dataclasses.is_dataclass(element):
            raise _fault(cls, f"keys has «{path}», which is no list of dataclasses")
        if key not in _hints(element):
            raise _fault(cls, f"keys has «{key}» for «{path}», whose elements have no such field")


def defaults_of(cls: type) -> Mapping[str, object]:
    """The values of fields that need none; of factories only `list` is known to make the same each time."""
    fixed = {
        field.name: field.default
        for field in dataclasses.fields(cls)
        if field.default is not dataclasses.MISSING
    }
    return fixed | {
        each.name: [] for each in dataclasses.fields(cls) if each.default_factory is list
    }


def _check_rule(cls: type, path: str, rule: FieldRule) -> None:
    if path == "id":
        raise _fault(cls, "fields has a rule for «id», which never changes")
    kind = _at(cls, path)
    if rule in _FITTING and "*" not in path.split(".")[-1:]:
        plain = list if _is_list(kind) else kind
        if plain is bool or plain not in _FITTING[rule]:
            raise _fault(cls, f"fields has «{rule}» for «{path}», which is {_name(kind)}")


def type_at(cls: type, path: str) -> Type | None:
    """The type at a dotted path, without None; «*» is any element or field. None: there is no such field."""
    kind: Type = cls
    for name in path.split("."):
        kind = _without_none(kind)
        if _is_list(kind) and name == "*":
            kind = typing.get_args(kind)[0]
        elif dataclasses.is_dataclass(kind) and name == "*":
            return kind
        else:
            hints = _hints(kind) if dataclasses.is_dataclass(kind) else {}
            if name not in hints:
                return None
            kind = hints[name]
    return _without_none(kind)


def _at(cls: type, path: str) -> Type:
    kind = type_at(cls, path)
    if kind is None:
        raise _fault(cls, f"there is no field «{path}» for the rule or key of it")
    return kind


def _check_class(
    cls: type, inner: Type, hints: Mapping[str, Type], at: str, seen: set[Type]
) -> None:
    if inner in seen:
        return
    seen.add(inner)
    for field in dataclasses.fields(inner):
        if field.name.startswith("_") or not field.init:
            raise _fault(cls, f"field «{at}{field.name}» is private or not of __init__")
        _check_type(cls, hints[field.name], f"{at}{field.name}", seen)


def _check_type(cls: type, kind: Type, at: str, seen: set[Type]) -> None:
    plain = _without_none(kind)
    if plain in _PLAIN or plain is types.NoneType:
        return
    if _is_list(plain):
        _check_type(cls, typing.get_args(plain)[0], f"{at}.*", seen)
    elif isinstance(plain, type) and issubclass(plain, enum.Enum):
        if not all(type(each.value) in {str, int} for each in plain):
            raise _fault(
                cls, f"field «{at}» is an enum with values that are no texts or whole numbers"
            )
    elif isinstance(plain, type) and dataclasses.is_dataclass(plain):
        _check_class(cls, plain, _hints(plain), f"{at}.", seen)
    else:
        raise _fault(cls, f"field «{at}» is {_name(kind)}. Allowed are {_ALLOWED}")


def _without_none(kind: Type) -> Type:
    """`X` of `X | None`; anything else as it is."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        rest = [each for each in typing.get_args(kind) if each is not types.NoneType]
        if len(rest) == 1:
            return rest[0]
    return kind


def _is_list(kind: Type) -> bool:
    origin: object = typing.get_origin(kind)
    return origin is list


def _hints(cls: Type) -> dict[str, Type]:
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise _fault(
            cls, f"{error}. Define it at the top of its module, before this class"
        ) from error


def _name(kind: Type) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _fault(cls: type, words: str) -> InvalidInput:
    return InvalidInput(f"cannot make «{cls.__name__}» a model: {words}")
