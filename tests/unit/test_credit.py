"""What waits on a channel: in order, within its window, and in little more room than its bytes."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc

import pytest

from skerry.kit.credit import Inbox

WINDOW, LARGEST = 4096, 512


async def taken(inbox: Inbox) -> list[tuple[bytes, int]]:
    """All that is there."""
    found = []
    while inbox.outstanding:
        piece = await inbox.take()
        assert piece is not None
        found.append(piece)
    return found


async def test_neighbours_of_one_stream_are_joined_up_to_the_largest_piece() -> None:
    inbox = Inbox(WINDOW, LARGEST)
    for number in range(WINDOW):
        assert inbox.put(bytes([number % 251]), 0)
    assert not inbox.put(b"x", 0)
    pieces = await taken(inbox)
    assert [(len(data), stream) for data, stream in pieces] == [(LARGEST, 0)] * (WINDOW // LARGEST)
    assert b"".join(data for data, _ in pieces) == bytes(n % 251 for n in range(WINDOW))


async def test_streams_keep_their_order_and_messages_their_borders() -> None:
    inbox = Inbox(WINDOW, LARGEST)
    for data, stream, whole in [
        (b"a", 0, False),
        (b"b", 0, False),
        (b"c", 1, False),
        (b"d", 0, False),
        (b"{1}", 4, True),
        (b"{2}", 4, True),
        (b"e", 4, False),
    ]:
        assert inbox.put(data, stream, whole=whole)
    assert await inbox.take() == (b"ab", 0)
    assert inbox.put(b"f", 4)
    assert await taken(inbox) == [(b"c", 1), (b"d", 0), (b"{1}", 4), (b"{2}", 4), (b"ef", 4)]
    assert inbox.put(b"g", 4)
    inbox.end()
    assert await inbox.take() == (b"g", 4)
    assert await inbox.take() is None


@pytest.mark.parametrize("streams", [1, 2])
async def test_a_window_of_single_bytes_takes_a_few_windows_of_memory(streams: int) -> None:
    inbox = Inbox(64 * WINDOW, LARGEST)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(64 * WINDOW):
            assert inbox.put(number.to_bytes(3, sys.byteorder)[:1], number % streams)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 8 * 64 * WINDOW


async def test_what_costs_no_credit_takes_no_room() -> None:
    inbox = Inbox(WINDOW, LARGEST)
    assert inbox.put(b"", 0)
    assert inbox.put(b"x", 1)
    async with asyncio.timeout(30):
        assert await inbox.take() == (b"x", 1)
