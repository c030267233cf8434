"""SQL, templates, markup and ways out of a directory in every text that the hub's document says it takes.

The document itself says which those are, so a new field is attacked on the day that it is there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from skerry.testing.running_hub import RunningHub, running_hub

pytestmark = [pytest.mark.timeout(240), pytest.mark.guarantee("G9")]

MARK = "zq7canary"
SUM = "1234567*7654321"
EVALUATED = str(1234567 * 7654321)
ATTACKS = (
    f"{MARK}'; DROP TABLE node; --",
    f'{MARK}" OR 1=1; --',
    f"<script>{MARK}()</script>",
    f"{MARK}{{{{{SUM}}}}}${{{SUM}}}<%= {SUM} %>",
    f"../../../{MARK}/etc/passwd",
    f"{MARK}%s%n%x\r\nX-Injected: yes",
)
Json = dict[str, Any]


def example(schema: Json, components: Json) -> Any:
    """The plainest value that fits a schema."""
    schema = resolved(schema, components)
    for told in ("default", "const"):
        if told in schema:
            return schema[told]
    choice = schema.get("enum") or schema.get("anyOf") or schema.get("oneOf")
    if choice:
        return choice[0] if "enum" in schema else example(choice[0], components)
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        wanted = [name for name in schema.get("required", []) if name in fields]
        return {name: example(fields[name], components) for name in wanted}
    if schema.get("type") == "array":
        items = schema.get("items")
        return [example(items, components)] if isinstance(items, dict) else []
    number = schema.get("minimum", 1)
    plain = {"integer": number, "number": number, "boolean": False, "null": None}
    return plain.get(schema.get("type", ""), "a")


def resolved(schema: Json, components: Json) -> Json:
    """The schema, not a reference to one."""
    reference = schema.get("$ref")
    return components[reference.rpartition("/")[2]] if reference else schema


def attacked(value: Any, attack: str) -> Iterator[Any]:
    """The value, once for each text in it, with the attack in that text's place, and as a key besides."""
    match value:
        case str():
            yield attack
        case dict():
            for name, inner in value.items():
                for changed in attacked(inner, attack):
                    yield {**value, name: changed}
            yield {**value, attack: attack}
        case list():
            for index, inner in enumerate(value):
                for changed in attacked(inner, attack):
                    yield [*value[:index], changed, *value[index + 1 :]]
        case _:
            pass


def requests(document: Json, attack: str) -> Iterator[tuple[str, str, Json, Any]]:
    """Method, path, query and body: each parameter and each text of each body attacked alone."""
    components = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation["parameters"]
            plain = {each["name"]: "a" for each in parameters if each["in"] == "path"}
            needed = {
                each["name"]: str(example(each["schema"], components))
                for each in parameters
                if each["in"] == "query" and each["required"]
            }
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            body = example(content["schema"], components) if content else None
            for each in parameters:
                if each["in"] == "path":
                    yield method, written(path, {**plain, each["name"]: attack}), needed, body
                else:
                    yield method, written(path, plain), {**needed, each["name"]: attack}, body
            for changed in attacked(body, attack):
                yield method, written(path, plain), needed, changed


def written(path: str, values: dict[str, str]) -> str:
    """The path with its parameters."""
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


async def headers_for(hub: RunningHub, path: str, node: dict[str, str]) -> dict[str, str]:
    return node if path.startswith(("/sync/", "/enrol/", "/trust/")) else hub.person


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_text_is_more_than_a_text(
    tmp_path: Path, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        running_hub(tmp_path / "hub") as hub,
        aiohttp.ClientSession(hub.address) as client,
    ):
        node = hub.node(await hub.enrol("honest", {"site": "lab"}))
        async with client.get("/schema/openapi.json", headers=hub.person) as answer:
            document = await answer.json()
        sent = 0
        for method, path, query, body in requests(document, attack):
            sent += 1
            async with client.request(
                method,
                path,
                params=query,
                json=body,
                headers=await headers_for(hub, path, node),
                allow_redirects=False,
            ) as answer:
                told = await answer.read()
                words = f"{method} {path} {query} {json.dumps(body)[:300]}: {told[:300]!r}"
                assert answer.status < 500 or answer.status in {503, 507}, words
                assert "X-Injected" not in answer.headers, words
                assert EVALUATED.encode() not in told, words
                if "html" in answer.headers.get("Content-Type", ""):
                    assert f"<script>{MARK}".encode() not in told, words
        assert sent > 150
        await _is_well(hub, client)
    assert [each.getMessage() for each in caplog.records if each.exc_info] == []
    outside = [path for path in tmp_path.rglob(f"*{MARK}*") if path.is_dir()]
    assert outside == []


async def _is_well(hub: RunningHub, client: aiohttp.ClientSession) -> None:
    """The tables are there, the node is still a node, and the page shows what was sent as text."""
    async with client.get("/api/v1/nodes", headers=hub.person) as answer:
        assert answer.status == 200
        names = [node["name"] for node in await answer.json()]
    assert (
        "honest" in names or names == []
    )  # it may have been deleted by an attack with its right name
    async with client.post("/api/v1/login-codes", headers=hub.person) as answer:
        code = (await answer.json())["path"]
    async with client.get(code) as answer:
        page = await answer.text()
    assert f"<script>{MARK}" not in page
    assert EVALUATED not in page
