"""Schemathesis over the hub's OpenAPI document, as each kind of caller: a fixed budget, a fixed seed, no finding.

It sends what the document allows, what it forbids, and what no document would name. To look at one finding again, run
the command line that a failure prints with the hub of `skerry up`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

import pytest

from skerry.testing.running_hub import RunningHub, running_hub

pytestmark = pytest.mark.timeout(240)

SOAKED = (pytest.mark.soak, pytest.mark.timeout(3600))
EXAMPLES = [
    ("admin", 4),
    ("monitor", 1),
    ("node", 8),
    pytest.param("admin", 50, marks=SOAKED),
    pytest.param("monitor", 50, marks=SOAKED),
]
"""For each operation, besides those that cover the borders of each parameter. Most of what a monitor asks is refused at once."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
Who = Literal["admin", "monitor", "node"]


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(("who", "examples"), EXAMPLES)
async def test_no_request_breaks_the_hub_or_its_document(
    tmp_path: Path, who: Who, examples: int
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        headers = await _headers(hub, who)
        words = [
            "run", f"{hub.address}/schema/openapi.json", "--url", hub.address,
            "--phases", "coverage,fuzzing", "--max-examples", str(examples), "--seed", "1",
            "--checks", ",".join(CHECKS), "--no-color",
            "--header", f"Authorization: {headers['Authorization']}",
            *(["--include-path-regex", "^/sync/|^/enrol/"] if who == "node" else []),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        told, _ = await process.communicate()
        report = told.decode(errors="replace")
        assert process.returncode == 0, report
        assert "Test cases:" in report, report


async def _headers(hub: RunningHub, who: Who) -> dict[str, str]:
    match who:
        case "admin":
            return hub.person
        case "monitor":
            return await hub.access_token("watcher", "monitor")
        case "node":
            return hub.node(await hub.enrol("n1"))
