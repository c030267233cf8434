"""A hub is where its address says: what leads elsewhere is not followed, nor told who asks. For calls that cannot say so."""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp


def none_followed() -> aiohttp.TraceConfig:
    """For a session: opening a WebSocket fails with the redirect's status, as with any other that is not 101."""
    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_refuse)
    return config


async def _refuse(
    _session: aiohttp.ClientSession,
    _context: SimpleNamespace,
    params: aiohttp.TraceRequestRedirectParams,
) -> None:
    answer = params.response
    answer.close()
    raise aiohttp.WSServerHandshakeError(answer.request_info, (), status=answer.status)
