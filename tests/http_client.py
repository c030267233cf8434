"""A client of a hub's HTTP: answers as text, and problems as the words of their error."""

import json

import aiohttp

Client = aiohttp.ClientSession


async def text_of(
    client: Client,
    method: str,
    path: str,
    status: int,
    headers: dict[str, str] | None = None,
    data: object = None,
) -> str:
    async with client.request(method, path, headers=headers, data=data) as response:
        text = await response.text()
        assert response.status == status, text
        return text


async def problem(
    client: Client,
    method: str,
    path: str,
    status: int,
    headers: dict[str, str],
    data: object = None,
) -> str:
    """The error's words; asserts that it is a Problem and nothing else."""
    body = json.loads(await text_of(client, method, path, status, headers, data))
    assert list(body) == ["error"]
    assert "Traceback" not in body["error"]
    return body["error"]
