"""HTTP for readiness probes: one client session for all of them, made when the first probe needs it."""

from __future__ import annotations

import aiohttp

from skerry.kit.errors import Transient


class HttpStatusClient:
    """Implements `readiness.HttpStatus`. Follows no redirect, keeps no connection and no cookie."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, timeout: float) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.get(url, timeout=limit, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient(f"cannot reach {url}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Ends the session, if there was one."""
        if self._session is not None:
            await self._session.close()
