"""The keeper's messages: codec and transport."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper import protocol
from skerry.keeper.protocol import ProtocolError

names = st.text(st.characters(codec="ascii", exclude_characters="=\0"), min_size=1)
values = st.binary(max_size=50).map(
    lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0)
    theirs.settimeout(0)
    with ours, theirs:
        yield ours, theirs


@given(st.lists(st.tuples(names, values), min_size=1))
def test_every_field_survives(fields: list[tuple[str, str]]) -> None:
    message = protocol.decode(protocol.encode(fields))
    for name, _ in fields:
        assert message.all(name) == [value for other, value in fields if other == name]
        assert message.text(name) == message.get(name) == message.all(name)[0]


@given(st.binary())
def test_garbage_is_a_message_or_an_error(body: bytes) -> None:
    try:
        message = protocol.decode(body)
    except ProtocolError:
        return
    assert message.get("op") is None or body.startswith(b"op=") or b"\0op=" in body


@pytest.mark.parametrize("body", [b"", b"\0", b"op=list", b"op\0", b"op=list\0\0"])
def test_malformed(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(body)


@pytest.mark.parametrize("value", ["a\0op=quit", "\ud800"])
def test_what_cannot_be_framed_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.encode([("arg", value)])


def test_missing_and_wrong_fields() -> None:
    message = protocol.decode(protocol.encode([("pid", "x")]))
    assert message.get("start") is None
    assert message.all("arg") == []
    with pytest.raises(ProtocolError, match="«start» is missing"):
        message.text("start")
    with pytest.raises(ProtocolError, match="«pid» is no number"):
        message.number("pid")


@pytest.mark.parametrize("size", [1, protocol.INLINE - 20, protocol.INLINE, 1_000_000])
def test_messages_of_any_size_pass(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    ours, theirs = pair
    descriptors = open_descriptors()
    protocol.transmit(ours, protocol.encode([("arg", "x" * size)]))
    message = protocol.receive(theirs)
    assert message is not None
    assert len(message.text("arg")) == size
    assert open_descriptors() == descriptors


def test_too_large_is_refused_on_both_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with pytest.raises(ProtocolError, match=str(protocol.LARGEST)):
        protocol.encode([("arg", "x" * protocol.LARGEST)])
    protocol.transmit(ours, b"x" * (protocol.LARGEST + 1))
    with pytest.raises(ProtocolError, match=str(protocol.LARGEST)):
        protocol.receive(theirs)
    ours.send(b"x" * (protocol.INLINE + 5))
    with pytest.raises(ProtocolError, match="larger"):
        protocol.receive(theirs)


def test_end_and_nothing_yet(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with pytest.raises(BlockingIOError):
        protocol.receive(theirs)
    ours.close()
    assert protocol.receive(theirs) is None


def test_foreign_descriptors_are_closed_and_harmless(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    read_end, write_end = os.pipe()
    descriptors = open_descriptors()
    socket.send_fds(ours, [b"body=memfd\0"], [read_end])
    with pytest.raises(ProtocolError, match="cannot be read"):
        protocol.receive(theirs)
    socket.send_fds(ours, [b"op=list\0"], [read_end, write_end])
    message = protocol.receive(theirs)
    assert message is not None
    assert message.get("op") == "list"
    assert [os.get_inheritable(fd) for fd in message.descriptors] == [False, False]
    message.close()
    assert open_descriptors() == descriptors
    os.close(read_end)
    os.close(write_end)
