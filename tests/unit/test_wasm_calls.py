"""What a module's calls do with its memory and with the records that wait, without a module."""

import os

from skerry.runners.wasm.calls import NO_INPUT, NodeCalls
from skerry.runners.wasm.feed import pump
from skerry.wire.records import Row


class Memory:
    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.longest = 0

    def read(self, start: int, length: int) -> bytes:
        self.longest = max(self.longest, length)
        return bytes(self.bytes[start : start + length])

    def write(self, start: int, data: bytes) -> None:
        self.bytes[start : start + len(data)] = data


class Inbox:
    def __init__(self, *records: bytes) -> None:
        self.records = list(records)
        self.waited: list[float | None] = []

    def first(self, seconds: float | None) -> bytes | None:
        self.waited.append(seconds)
        return self.records[0] if self.records else None

    def taken(self) -> None:
        del self.records[0]


def calls(inbox: Inbox | None, told: list[str]) -> NodeCalls:
    return NodeCalls(inbox, lambda: told.append("alive"), lambda: told.append("renew"))


def test_a_record_is_taken_when_it_fits_and_only_then() -> None:
    told: list[str] = []
    memory, inbox = Memory(8), Inbox(b"abc", b"d")
    follows = calls(inbox, told)
    assert follows.next(memory, 1, 2, -1) == 3
    assert bytes(memory.bytes) == bytes(8)
    assert told == ["alive"]
    assert follows.next(memory, 1, 3, 250) == 3
    assert bytes(memory.bytes) == b"\0abc\0\0\0\0"
    assert told == ["alive", "alive", "renew"]
    assert follows.next(memory, 0, -1, 0) == 1, "a capacity is unsigned"
    assert follows.next(memory, 0, 8, 0) == 0
    assert inbox.waited == [None, 0.25, 0.0, 0.0]


def test_without_input_there_is_nothing_to_wait_for() -> None:
    assert calls(None, []).next(Memory(0), 0, 0, -1) == NO_INPUT


def test_every_call_is_a_sign_of_life() -> None:
    told: list[str] = []
    memory = Memory(4)
    assert calls(None, told).publish(memory, 0, 4) == -1
    assert calls(None, told).log(memory, 0, 4) == 0
    assert told == ["alive", "alive"]


def test_a_module_cannot_fill_its_runners_memory() -> None:
    memory = Memory(4)
    calls(None, []).publish(memory, 0, -1)
    calls(None, []).log(memory, 0, 1 << 30)
    assert memory.longest == 1 << 20


def test_every_line_that_is_taken_is_a_sign_of_life() -> None:
    rows = [Row("t", "env.x", value, {}, "n", "other", 0) for value in (1, 2)]
    signs = []
    read_end, write_end = os.pipe()
    try:
        pump(iter(rows), write_end, lambda: signs.append(1))
        assert os.read(read_end, 1000).count(b"\n") == len(signs) == 2
    finally:
        os.close(read_end)
        os.close(write_end)
