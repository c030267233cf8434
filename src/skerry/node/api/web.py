"""What the node's API uses of aiohttp's server, as `aiohttp.web` has it.

`aiohttp.web` itself also loads a command line with what reads and translates its words, half a megabyte for ever.
"""

from __future__ import annotations

from aiohttp.web_app import Application
from aiohttp.web_exceptions import HTTPException, HTTPRequestEntityTooLarge
from aiohttp.web_middlewares import middleware
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest, Request
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_runner import AppRunner
from aiohttp.web_server import Server

__all__ = [
    "AppRunner", "Application", "BaseRequest", "HTTPException", "HTTPRequestEntityTooLarge", "Request",
    "RequestHandler", "RequestPayloadError", "Response", "Server", "StreamResponse", "middleware",
]  # fmt: skip
