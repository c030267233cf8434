"""HTTP for readiness probes: `functools.partial(http_status, session)` implements `readiness.HttpStatus`."""

from __future__ import annotations

import aiohttp

from skerry.kit.errors import Transient


async def http_status(session: aiohttp.ClientSession, url: str, timeout: float) -> int:
    """The status of a GET. A redirect is an answer and is not followed. Raises Transient when there is none."""
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        async with session.get(url, timeout=limit, allow_redirects=False) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"cannot get {url}: {str(error) or 'no answer'}") from error
