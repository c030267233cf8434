"""Messages of the live link: one outbound WebSocket per node, channels with flow control.

The hub opens channels (a log tail now; shells and tunnels later). A sender may have at most the granted
credit of unacknowledged bytes on a channel under way, so one slow reader never fills the link.
Losing the link loses no data: everything that matters travels by push and pull.
"""

from __future__ import annotations

import msgspec

from skerry.wire.codec import decode, encode

WINDOW = 256 * 1024
"""Credit that the receiver of a new channel grants, in bytes."""

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


class Credit(msgspec.Struct, frozen=True, tag="credit"):
    """The receiver has consumed `size` bytes and grants them again."""

    channel: int
    size: int


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Ends a channel; `error` is empty when all went well."""

    channel: int
    error: str = ""


Message = News | Open | Opened | Data | Credit | Close


def to_text(message: Message) -> str:
    """The message as one WebSocket text frame."""
    return encode(message).decode()


def from_text(text: str | bytes) -> Message:
    """Raises InvalidInput when the frame is no message."""
    data = text.encode() if isinstance(text, str) else text
    return decode(data, Message, "link message")  # type: ignore[arg-type]  # a union of tagged structs is a type to msgspec
