"""Messages of the live link: one outbound WebSocket per node, channels with flow control.

The hub opens channels: log tails, whose text comes from the node, and tunnels, with bytes both ways. Each side may have
at most the granted credit of unacknowledged bytes on a channel under way, so one slow reader never fills the link.
Messages are text frames with JSON, but `Bytes`, which are binary frames. A person's WebSocket to the hub for one tunnel
speaks the same, on channel 0 and without credit: there TCP does.
Losing the link loses no data: everything that matters travels by push and pull.
"""

from __future__ import annotations

import struct

import msgspec

from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.wire.codec import decode, encode

WINDOW = 256 * 1024
"""Credit that the receiver of a new channel grants, in bytes."""

LARGEST = 32 * 1024
"""Bytes of one binary frame at most: an eighth of the window, so that others get their turn between two."""

FLOWING = 3
"""Streams below it are bytes whose pieces mean nothing, so they may be joined on the way; from it on, each frame is a message."""

RUN_HEADER = "Skerry-Run"
"""Header of the link's handshake: the same random id as in the agent's hello (`wire.sync.Hello.run`)."""

REPLACED = 4001
"""Close code of the WebSocket: the same agent has opened a newer link."""

OTHER_AGENT = 4002
"""Close code: another agent with this node's identity has opened a link."""

DELETED = 4003
"""Close code: the hub has deleted this node."""


class News(msgspec.Struct, frozen=True, tag="news", omit_defaults=True):
    """The hub has changes for this node: pull now.

    `rows`: only of shared rows, so there is nothing else to ask for.
    """

    rows: bool = False


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Starts channel `channel`; `kind` names the service and `arguments` its parameters."""

    channel: int
    kind: str
    arguments: dict[str, str]


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The node serves channel `channel`, at once; its first text may be long in coming."""

    channel: int


class Data(msgspec.Struct, frozen=True, tag="data"):
    """Text on a channel; costs credit by its UTF-8 length."""

    channel: int
    text: str


class Bytes(msgspec.Struct, frozen=True):
    """Bytes on a channel, at most LARGEST; cost credit by their number.

    `stream` tells apart what one channel carries side by side; a tunnel has stream 0 only.
    """

    channel: int
    data: bytes
    stream: int = 0


class End(msgspec.Struct, frozen=True, tag="end"):
    """The sender has no more bytes for channel `channel`; it still takes the other's."""

    channel: int


class Credit(msgspec.Struct, frozen=True, tag="credit"):
    """The receiver has consumed `size` bytes and grants them again."""

    channel: int
    size: int


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Ends a channel; `error` is empty when all went well."""

    channel: int
    error: str = ""


Told = News | Open | Opened | Data | End | Credit | Close
"""What travels as text."""

Message = Told | Bytes

_HEAD = struct.Struct(">IB")
"""Of a binary frame: channel, stream."""


def to_text(message: Told) -> str:
    """The message as one WebSocket text frame."""
    return encode(message).decode()


def to_frame(message: Bytes) -> bytes:
    """The bytes as one WebSocket binary frame."""
    return _HEAD.pack(message.channel, message.stream) + message.data


def from_frame(frame: bytes) -> Bytes:
    """Raises InvalidInput when the frame is too short for any, or larger than one may be."""
    if not _HEAD.size < len(frame) <= _HEAD.size + LARGEST:
        raise InvalidInput(f"cannot read a link's binary frame of {len(frame)} bytes")
    channel, stream = _HEAD.unpack_from(frame)
    return Bytes(channel, frame[_HEAD.size :], stream)


def from_text(text: str | bytes) -> Told:
    """Raises InvalidInput when the frame is no message."""
    data = text.encode() if isinstance(text, str) else text
    return decode(data, Told, "link message")  # type: ignore[arg-type]  # a union of tagged structs is a type to msgspec


TunnelMessage = Opened | Bytes | End | Close
"""What one says of a tunnel to whoever it is for."""


def tunnel_message(frame: str | bytes | None) -> TunnelMessage | None:
    """The frame of a tunnel's own WebSocket; None: it has ended without a word. Raises InvalidInput."""
    if frame is None:
        return None
    message = from_frame(frame) if isinstance(frame, bytes) else from_text(frame)
    if isinstance(message, TunnelMessage):
        return message
    raise InvalidInput("cannot read a tunnel's message: it has no meaning there")


def refusal(answer: TunnelMessage | None) -> SkerryError | None:
    """Why a tunnel was not opened, by the first message about it; None: it is open."""
    match answer:
        case Opened():
            return None
        case Close(_, words):
            return Refused(words or "cannot open a tunnel: the hub closed it")
        case _:
            return Transient(
                "cannot open a tunnel: the hub closed the connection. Its log may say why."
            )
