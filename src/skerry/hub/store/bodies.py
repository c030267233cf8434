"""The bodies of the hub's database: which columns are sealed, where each belongs, and the one place that seals and opens them.

What people and programs put in is a body; ids, names, times, numbers and states are keys, which queries use (ADR 0014).
Whoever writes or reads a body passes it through `Bodies.of(connection)`; where encryption is off it comes out as it is.
Columns of text hold a sealed body as «sealed:» and base64; a record's text says by its type that it is one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Column, Connection, LargeBinary, Table

from skerry.hub.store.device_tables import command, device, device_change
from skerry.hub.store.keys import StoreKeys, keys_of
from skerry.hub.store.shared_tables import shared_conflict, shared_row, shared_version
from skerry.hub.store.tables import (
    blob_key,
    enrolment_token,
    fact,
    file,
    file_content,
    meta,
    model,
    node,
    record,
    rollout,
    secret,
    state,
    workload,
    workload_version,
)
from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import KeyMissing, Place, Row
from skerry.kit.sealing.format import is_sealed, key_id_of

SEALED = "sealed:"
"""Begins a sealed text. JSON and hexadecimal digits, which stand in those columns otherwise, never begin so."""


_RAW = b"\0"
"""Stands before raw bytes that are stored plain: without it one in 65,536 would begin as if it were sealed."""


@dataclass(frozen=True)
class Body:
    """A column of bodies and the columns that say which row it is in. `raw`: any bytes, not JSON or text.

    `like` is another column that it shares its places with: what is sealed for one may be moved to the other.
    """

    column: Column[bytes] | Column[str]
    row: tuple[str, ...]
    raw: bool = False
    like: Column[bytes] | None = None

    @cached_property
    def table(self) -> Table:
        """The column's table."""
        return self.column.table

    @cached_property
    def _names(self) -> tuple[str, str]:
        named = self.column if self.like is None else self.like
        return named.table.name, named.name

    @property
    def is_text(self) -> bool:
        """Whether a sealed body is stored as text."""
        return not isinstance(self.column.type, LargeBinary)

    def place(self, *row: str | int) -> Place:
        """Where the body of this row belongs."""
        table, column = self._names
        return Place(table, column, tuple(map(str, row)))


FACT = Body(fact.c.value, ("name",))
LABELS = Body(node.c.labels, ("id",))
GIVEN_LABELS = Body(node.c.given_labels, ("id",))
TOKEN_LABELS = Body(enrolment_token.c.labels, ("hash",))
WORKLOAD = Body(workload.c.spec, ("name",))
VERSION = Body(workload_version.c.spec, ("name", "number"))
MODEL = Body(model.c.spec, ("name",))
SECRET = Body(secret.c.body, ("name",))
ROLLOUT = Body(rollout.c.body, ("name",))
STATE = Body(state.c.body, ("scope", "entity", "id"))
SHARED = Body(shared_row.c.body, ("entity", "id", "rev"))
SHARED_VERSION = Body(shared_version.c.body, SHARED.row, like=shared_row.c.body)
SHARED_CONFLICT = Body(shared_conflict.c.body, SHARED.row, like=shared_row.c.body)
META = Body(meta.c.json, ("hash",))
FILE_META = Body(file.c.meta, ("session_id", "counter"))
MANIFEST = Body(file_content.c.manifest, ("sha256",), raw=True)
TAIL = Body(file_content.c.tail, ("sha256",), raw=True)
ERASURE = Body(device.c.erasure, ("id",))
DEVICE_CHANGE = Body(device_change.c.body, ("node_id", "at"))
COMMAND_REPLY = Body(command.c.reply, ("id",))
BLOB_KEY = Body(blob_key.c.key, ("place", "sha256"))
TEXT = Body(record.c.text, ("series_id", "at", "session_id", "counter"))

SMALL = (
    FACT, LABELS, GIVEN_LABELS, TOKEN_LABELS, WORKLOAD, VERSION, MODEL, ROLLOUT, STATE, META, FILE_META, MANIFEST, TAIL, BLOB_KEY,
    SHARED, SHARED_VERSION, SHARED_CONFLICT, SECRET, ERASURE, DEVICE_CHANGE, COMMAND_REPLY,
)  # fmt: skip
"""All but `TEXT`, which may be millions and is found by batch."""

SEALED_FACTS = ("cursor_key", "index_key")
"""The hub's id is none: every node and every page has it."""


class Bodies:
    """Seals and opens within one transaction. Sealing is for the writer's alone."""

    def __init__(self, connection: Connection, keys: StoreKeys | None) -> None:
        self._connection = connection
        self._keys = keys

    @classmethod
    def of(cls, connection: Connection) -> Bodies:
        """Those of the store that this connection belongs to."""
        return cls(connection, keys_of(connection))

    @property
    def seals(self) -> bool:
        """Whether bodies are encrypted."""
        return self._keys is not None

    def seal(self, body: Body, plain: bytes, *row: str | int) -> bytes:
        """What is stored for `plain`."""
        if self._keys is not None:
            return self._keys.seal(plain, body.place(*row))
        return _RAW + plain if body.raw else plain

    def open(self, body: Body, stored: bytes, *row: str | int) -> bytes:
        """The inverse of `seal`. Raises Corrupt when it was not sealed for this row, KeyMissing when encryption is off."""
        if is_sealed(stored):
            return self._opened(body, stored, row)
        self.permit_plain(body, *row)
        return stored.removeprefix(_RAW) if body.raw else stored

    def seal_rows(self, body: Body, rows: Sequence[Row], *within: str) -> list[bytes]:
        """As `seal`, for many rows whose primary keys begin with `within`; not for `raw` bodies."""
        if self._keys is None:
            return [plain for _, plain in rows]
        return self._keys.seal_rows(rows, body.place(*within))

    def open_rows(self, body: Body, rows: Sequence[Row], *within: str) -> list[bytes]:
        """The inverse of `seal_rows`. Raises as `open`."""
        place = body.place(*within)

        def one(last: str | tuple[str, ...], stored: bytes) -> bytes:
            return self.open(body, stored, *place.at(last).row)

        if self._keys is None:
            return [one(last, stored) for last, stored in rows]
        return self._keys.open_rows(rows, place, one)

    def seal_text(self, body: Body, plain: str, *row: str | int) -> str:
        """As `seal`, for a column of text."""
        if self._keys is None:
            return plain
        sealed = self._keys.seal(plain.encode(errors="surrogatepass"), body.place(*row))
        return SEALED + binascii.b2a_base64(sealed, newline=False).decode("ascii")

    def open_text(self, body: Body, stored: str, *row: str | int) -> str:
        """As `open`, for a column of text."""
        if stored.startswith(SEALED):
            return self.open_sealed_text(body, stored, *row)
        self.permit_plain(body, *row)
        return stored

    def open_sealed_text(self, body: Body, stored: str, *row: str | int) -> str:
        """A text that cannot be anything but sealed."""
        try:
            sealed = base64.b64decode(stored.removeprefix(SEALED), validate=True)
        except (binascii.Error, ValueError):
            sealed = b""
        if not is_sealed(sealed):
            raise Corrupt(f"cannot read {body.place(*row)}: it is not what was sealed there")
        return self._opened(body, sealed, row).decode(errors="surrogatepass")

    def permit_plain(self, body: Body, *row: str | int) -> None:
        """Raises Corrupt for a plain body where everything must be sealed."""
        if self._keys is not None and not self._keys.takes_plain(self._connection):
            raise Corrupt(
                f"cannot read {body.place(*row)}: it is not sealed, as everything here must be"
            )

    def _opened(self, body: Body, sealed: bytes, row: tuple[str | int, ...]) -> bytes:
        place = body.place(*row)
        if self._keys is None:
            raise KeyMissing(
                f"cannot read {place}: it is sealed with key {key_id_of(sealed):08x}, and encryption is off. "
                "Set encryption.storage.enabled."
            )
        return self._keys.open_body(self._connection, sealed, place)
