"""What the agent and the keeper say to each other: version 2.

Transport: a UNIX socket of type SOCK_SEQPACKET; one packet is one message. A message is a run of fields
«name=value», each ended by a NUL byte; names may repeat. Arguments and environments cannot hold NUL, so
they pass unchanged (bytes that are not UTF-8 travel as surrogate escapes). A message of more than `INLINE`
bytes travels in a memfd: the packet is «body=memfd» and carries the descriptor. `LARGEST` bounds it. Behind it
come the descriptors that belong to the message itself.

Every request has `op` and `id`; its reply repeats `id`. Many requests may be under way, replies come in any
order. A failed request's reply has `error` (one word), `text` (for people) and, where the system refused,
`errno` and `step`.

    op      request fields                                         reply fields
    hello   version, and holds=1 of an agent that knows «hold»     version pid
    list    –                                                      sockets=NAME… of those held (one event for each
                                                                   instance comes before)
    spawn   instance workload directory log RULES                  pid start, once exec has happened
            arg… env=NAME=VALUE… limit=RLIMIT_NAME=NUMBER…
            sockets=NAME isolation cgroup=DIRECTORY… and, to
            confine it, user network port… show=PATH… give=PATH…
            room
    adopt   instance workload log RULES pid start                  pid start
            isolation cgroup=DIRECTORY…
    signal  instance number                                        –
    mask    instance RULES                                         –
    ack     instance                                               –
    quit    –                                                      –
    exec    execution instance directory arg… env=NAME=VALUE…      pid, once exec has happened
            limit=RLIMIT_NAME=NUMBER… tty cgroup=DIRECTORY… and
            what confines, as in «spawn», with three descriptors
    tie     text                                                   –
    hold    sockets=NAME, with any number of descriptors           –

    event    fields
    running  instance workload pid start log RULES isolation
    exited   instance workload pid start at, and code or signal or neither (unknown), and reason if there is one
    ended    execution, and code or signal

RULES are those of the log (`log_rules`): log_size log_files, log_age and log_known where they hold, log_pattern…
log_secret…

`hello` comes first and attaches the agent; while one is attached, others are refused («busy»). `spawn` of an
instance that runs, or whose exit is kept, starts nothing. An `exited` event is sent when the last process of
the instance has ended, after the reply to its `spawn`; until `ack` it is sent again at each `list` and before
the reply to each further `spawn` of that instance. `signal` reaches every process of the instance. When its
first process has ended, the others get SIGKILL; if a signal other than SIGKILL came before, they are left to
it until the agent sends SIGKILL. `signal`, `mask` and `ack` are harmless for unknown instances. `adopt` takes a process
that is no child of this keeper; «gone» says that nothing of the instance lives and that its last output is in
the log. `isolation` is text for people, kept for the next agent; `confinement` explains the fields that confine.
`quit` is refused («busy») while an instance runs or an exit is kept.

`exec`, `tie` and `hold` come on a connection of their own, from the process of the attached agent. `exec` runs a command
beside the processes of an instance, in its namespaces, with the descriptors as stdin, stdout and stderr; all that it
has started ends with it, with its instance and with the connection («executions»). `tie` has every process end with
the connection whose environment holds the text, and what those have started. `hold` keeps the descriptors, in place of those held by
that name before, until the keeper ends; a `spawn` that names them passes them on as systemd does (LISTEN_FDS, from
descriptor 3 on). For an agent that does not know of them they would only keep their ports from others: they are closed.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Sequence

VERSION = 2
INLINE = 32 * 1024
LARGEST = 8 * 1024 * 1024

Fields = Iterable[tuple[str, object]]

_BY_MEMFD = b"body=memfd\0"
MOST_DESCRIPTORS = 253
"""Of one packet, as of Linux' SCM_MAX_FD."""

_INT = struct.calcsize("i")
_ROOM = socket.CMSG_LEN(MOST_DESCRIPTORS * _INT)


class ProtocolError(ValueError):
    """A message that cannot be sent or understood."""


class Refusal(Exception):
    """A request that is answered with `error` and `text`."""

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class Message:
    """A received message; the methods raise ProtocolError for a field that is missing or no number.

    `descriptors` came with it; who has received it closes them.
    """

    __slots__ = ("_fields", "descriptors")

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields
        self.descriptors: list[int] = []

    def take_descriptors(self) -> list[int]:
        """The descriptors: they are the caller's from now on."""
        taken, self.descriptors = self.descriptors, []
        return taken

    def close(self) -> None:
        """Closes the descriptors."""
        for fd in self.take_descriptors():
            os.close(fd)

    def get(self, name: str) -> str | None:
        """The first value, if there is one."""
        values = self._fields.get(name)
        return values[0] if values else None

    def text(self, name: str) -> str:
        """The first value."""
        value = self.get(name)
        if value is None:
            raise ProtocolError(f"the field «{name}» is missing")
        return value

    def number(self, name: str) -> int:
        """The first value, as an integer."""
        try:
            return int(self.text(name))
        except ValueError as error:
            raise ProtocolError(f"the field «{name}» is no number") from error

    def all(self, name: str) -> list[str]:
        """Every value, in order."""
        return self._fields.get(name, [])


def encode(fields: Fields) -> bytes:
    """The bytes of a message. Raises ProtocolError for NUL in a value and above `LARGEST`."""
    items = [f"{name}={value}\0" for name, value in fields]
    try:
        body = "".join(items).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ProtocolError("it holds text that has no UTF-8 form") from error
    if body.count(0) != len(items):
        raise ProtocolError("it holds a NUL character")
    if len(body) > LARGEST:
        raise ProtocolError(f"it has {len(body)} bytes, at most {LARGEST} are passed on")
    return body


def decode(body: bytes) -> Message:
    """The message in `body`. Raises ProtocolError."""
    if not body.endswith(b"\0"):
        raise ProtocolError("a message must end with NUL")
    fields: dict[str, list[str]] = {}
    for item in body[:-1].decode("utf-8", "surrogateescape").split("\0"):
        name, equals, value = item.partition("=")
        if not equals:
            raise ProtocolError("a field must have the form «name=value»")
        fields.setdefault(name, []).append(value)
    return Message(fields)


def transmit(sock: socket.socket, body: bytes, descriptors: Sequence[int] = ()) -> None:
    """Sends one encoded message. Raises BlockingIOError when the peer has not read the earlier ones."""
    if len(body) <= INLINE:
        if descriptors:
            socket.send_fds(sock, [body], descriptors)
        else:
            sock.send(body)
        return
    fd = os.memfd_create("skerry-message", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(fd, view) :]
        socket.send_fds(sock, [_BY_MEMFD], [fd, *descriptors])
    finally:
        os.close(fd)


def receive(sock: socket.socket) -> Message | None:
    """The next message; None when the peer has closed. Raises BlockingIOError, OSError, ProtocolError."""
    # Not `socket.recv_fds`: it forgets its flags, and every child would have the descriptors.
    packet, beside, flags, _ = sock.recvmsg(INLINE + 1, _ROOM, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for _level, kind, data in beside:
        if kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(data) // _INT}i", data[: len(data) // _INT * _INT])
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(packet) > INLINE:
            raise ProtocolError("a packet is larger than any message")
        if packet == _BY_MEMFD and fds:
            body = fds.pop(0)
            try:
                packet = _read_all(body)
            finally:
                os.close(body)
        message = decode(packet) if packet else None
        if message is not None:
            message.descriptors, fds = fds, []
        return message
    finally:
        for fd in fds:
            os.close(fd)


def _read_all(fd: int) -> bytes:
    try:
        size = os.fstat(fd).st_size
        if size > LARGEST:
            raise ProtocolError(f"it has {size} bytes, at most {LARGEST} are read")
        return os.pread(fd, size, 0)
    except OSError as error:
        raise ProtocolError(f"its memfd cannot be read: {error.strerror}") from error
