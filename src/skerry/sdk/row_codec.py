"""Objects of a model as rows, and rows as objects; what an object was read as goes with it.

An object's reading is an attribute of it, so a changed copy (`dataclasses.replace`) has none.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.kit.ids import uuid7
from skerry.sdk.model_types import defaults_of, type_at
from skerry.wire.entities import Change, EntityRow, Filter, Reading, Written
from skerry.wire.shared import Declaration

T = TypeVar("T")

_READING = "__skerry_reading__"
_NULL = b"null"

Kind = Literal["create", "update", "put"]


@dataclasses.dataclass(frozen=True)
class Model(Generic[T]):
    """What `@model` has made of a class."""

    cls: type[T]
    entity: str
    declaration: Declaration
    local: bool


class RowCodec(Generic[T]):
    """Encodes and decodes rows of one model."""

    def __init__(self, model: Model[T]) -> None:
        self._cls = model.cls
        self._entity = model.entity
        self._decoder = msgspec.json.Decoder(model.cls)
        self._defaults = {
            name: msgspec.json.encode(value) for name, value in defaults_of(model.cls).items()
        }

    def with_id(self, kind: Kind, row: T) -> T:
        """The row itself when it has an id, else a copy that has one. Raises InvalidInput for what is no object of the model."""
        self._check(kind, row)
        given: Any = row
        made: T = row if given.id else dataclasses.replace(given, id=uuid7(_Wall()))
        return made

    def change(
        self,
        kind: Kind,
        row: T,
        read: T | None,
        expected: int | None,
    ) -> Change:
        """The change that makes the row this one. Raises InvalidInput for values that its type forbids."""
        row_id, body = self._encode(kind, row)
        reading = None if kind == "create" else reading_of(row if read is None else read)
        return Change(kind, row_id, body, expected, reading)

    def after(self, row: T, change: Change, written: Written) -> T:
        """The object of a row after its change; `row` itself where it is that."""
        if bytes(written.body) == _NULL:
            _remember(row, Reading(written.revision, written.rev, change.body))
            return row
        now = self._decode(change.id, bytes(written.body))
        reading = Reading(written.revision, written.rev, written.body)
        _remember(now, reading)
        if msgspec.json.encode(now) == msgspec.json.encode(row):
            _remember(row, reading)
        return now

    def row(self, row: EntityRow) -> T:
        """The object of a row as it was found."""
        found = self._decode(row.id, bytes(row.body))
        _remember(found, Reading(row.revision, row.rev, row.body))
        return found

    def body(self, row_id: str, body: msgspec.Raw) -> T | None:
        """The object of a body; None for none."""
        return None if bytes(body) == _NULL else self._decode(row_id, bytes(body))

    def filters(self, where: Mapping[str, object]) -> list[Filter]:
        """What `where` says. Raises InvalidInput for a field that the class does not have, or a value of another type."""
        return [self._filter(path, value) for path, value in where.items()]

    def _filter(self, path: str, value: object) -> Filter:
        cannot = f"cannot look for rows of «{self._entity}» by «{path}»"
        if path == "id":
            raise InvalidInput(f"{cannot}: ids are no field. Use read(id), or prefix= and after=")
        kind = None if "*" in path.split(".") else type_at(self._cls, path)
        if kind is None:
            raise InvalidInput(f"{cannot}: «{self._cls.__name__}» has no such field")
        try:
            said = msgspec.json.encode(value)
            msgspec.json.decode(said, type=kind | None)
        except (msgspec.MsgspecError, TypeError, UnicodeError, OverflowError) as error:
            raise InvalidInput(f"{cannot}: {error}") from error
        return Filter(path, msgspec.Raw(said), self._defaults.get(path) == said)

    def _check(self, kind: Kind, row: T) -> None:
        if not isinstance(row, self._cls):
            raise InvalidInput(
                f"cannot {kind} row of «{self._entity}»: a «{type(row).__name__}» is no «{self._cls.__name__}»"
            )

    def _encode(self, kind: Kind, row: T) -> tuple[str, msgspec.Raw]:
        self._check(kind, row)
        try:
            text = msgspec.json.encode(row)
            self._decoder.decode(text)
            fields = msgspec.json.decode(text)
        except (msgspec.MsgspecError, TypeError, UnicodeError, OverflowError) as error:
            raise InvalidInput(f"cannot {kind} row of «{self._entity}»: {error}") from error
        row_id = fields.pop("id")
        if not row_id:
            raise InvalidInput(f"cannot {kind} row of «{self._entity}»: it has no id")
        return row_id, msgspec.Raw(msgspec.json.encode(fields))

    def _decode(self, row_id: str, body: bytes) -> T:
        told = b'"id":' + msgspec.json.encode(row_id) + b"}"
        text = body[:-1] + (b"," if len(body) > 2 else b"") + told
        try:
            return self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"cannot read row «{row_id}» of «{self._entity}»: {error}. "
                "A field that rows may lack needs a default."
            ) from error


def reading_of(row: object) -> Reading | None:
    """What an object was read or written as."""
    found = row.__dict__.get(_READING)
    return found if isinstance(found, Reading) else None


def _remember(row: object, reading: Reading) -> None:
    row.__dict__[_READING] = reading


class _Wall:
    def wall_ns(self) -> int:
        return time.time_ns()  # noqa: TID251 - kit.clock needs asyncio
