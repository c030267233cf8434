"""What aiohttp logs about connections: bytes that are no HTTP are the stranger's fault and must not fill our log.

aiohttp logs each as an error with a traceback and the bytes in it; whoever sent them has the answer 400.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from skerry.kit.one_line import one_line


class HttpLog(logging.LoggerAdapter[logging.Logger]):
    """A logger for aiohttp's servers: malformed requests only as a debug line, our own failures as they are."""

    def exception(self, msg: object, *args: object, **named: Any) -> None:  # noqa: ANN401 - as logging has it
        error = named.get("exc_info")
        if isinstance(error, HttpProcessingError | RequestPayloadError):
            self.debug("refused what is no HTTP request: %s", one_line(str(error)))
        else:
            super().exception(msg, *args, **named)
