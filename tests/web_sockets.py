"""The next frame of a WebSocket, within a time that ends."""

from __future__ import annotations

import asyncio

import aiohttp

PATIENCE = 40.0
"""Seconds for a frame; news and answers of a hub come within one."""

ALL_OF_IT = 120.0
"""Seconds for all frames of something that is long."""


async def next_frame(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    """Raises TimeoutError when there is none. The time of `socket.receive(timeout=…)` would begin anew at each ping."""
    async with asyncio.timeout(PATIENCE):
        return await socket.receive()
