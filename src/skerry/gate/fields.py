"""The fields that MQTT's packets are made of: numbers, texts, and the properties of version 5."""

from __future__ import annotations

from collections.abc import Collection, Iterator


class Malformed(ValueError):
    """The peer does not keep to MQTT."""


_ONE = frozenset((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A))
_TWO = frozenset((0x13, 0x21, 0x22, 0x23))
_FOUR = frozenset((0x02, 0x11, 0x18, 0x27))
_LONG = frozenset((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))
_VARIABLE = 0x0B
_PAIR = 0x26

MOST_PROPERTIES = 64 * 1024
"""Bytes: each property is looked at, and they can be small and many."""


class Fields:
    """Reads one packet's fields in order. Every method raises Malformed where too little is left."""

    __slots__ = ("_body", "position")

    def __init__(self, body: bytes, position: int = 0) -> None:
        self._body = body
        self.position = position

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._body) - self.position

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise Malformed("a packet ends before its fields do")
        self.position += count
        return self._body[self.position - count : self.position]

    def byte(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def two(self) -> int:
        """A number of two bytes."""
        return int.from_bytes(self._take(2), "big")

    def binary(self) -> bytes:
        """Bytes with their length before them."""
        return self._take(self.two())

    def text(self) -> str:
        """UTF-8 with its length before it; without the NUL that MQTT forbids."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise Malformed("a text is no UTF-8") from error
        if "\0" in text:
            raise Malformed("a text holds a NUL")
        return text

    def integer(self) -> int:
        """A number of one to four bytes, seven bits in each."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 127) << shift
            if not byte & 128:
                return value
        raise Malformed("a number has more than four bytes")

    def property_bytes(self) -> bytes:
        """The properties, without their length; `properties_of` takes them apart."""
        if (size := self.integer()) > MOST_PROPERTIES:
            raise Malformed(
                f"its properties have {size} bytes, at most {MOST_PROPERTIES} are taken"
            )
        properties = self._take(size)
        for _ in properties_of(properties):
            pass
        return properties

    def rest(self) -> bytes:
        """All that is left."""
        return self._take(self.left)

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise Malformed("a packet goes on after its last field")


def properties_of(properties: bytes) -> Iterator[tuple[int, int, int]]:
    """Each property's number, where it begins (with the number) and where it ends. Raises Malformed."""
    fields = Fields(properties)
    while fields.left:
        start = fields.position
        number = fields.byte()
        if number in _LONG:
            fields.binary()
        elif number in _TWO:
            fields.two()
        elif number in _FOUR:
            fields.two()
            fields.two()
        elif number in _ONE:
            fields.byte()
        elif number == _PAIR:
            fields.binary()
            fields.binary()
        elif number == _VARIABLE:
            fields.integer()
        else:
            raise Malformed(f"there is no property {number:#x}")
        yield number, start, fields.position


def without(properties: bytes, numbers: Collection[int]) -> bytes:
    """The properties but for those."""
    return b"".join(
        properties[start:end]
        for number, start, end in properties_of(properties)
        if number not in numbers
    )


def integer_of(value: int) -> bytes:
    """`Fields.integer`, the other way."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text_of(text: str) -> bytes:
    """`Fields.text`, the other way."""
    body = text.encode()
    return len(body).to_bytes(2, "big") + body
