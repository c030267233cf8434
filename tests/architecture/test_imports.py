"""What the contracts of import-linter cannot say: what is really loaded, and a few words that must not occur."""

import json
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "skerry"

NOT_IN_THE_AGENT = {
    "alembic", "cryptography", "httpx", "jinja2", "litestar", "psutil", "psycopg", "pydantic", "rich", "ruamel",
    "skerry.cli", "skerry.hub", "skerry.runners", "sqlalchemy", "typer", "uvicorn", "wasmtime",
    "difflib", "skerry.core.config", "skerry.node.settings", "yaml",
    "skerry.node.erasing", "skerry.node.final_report",
    "anyio", "aiohttp.web", "argparse", "ctypes", "dataclasses",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return set(json.loads(output))


def test_the_agent_loads_nothing_of_the_hub_and_nothing_that_reads_settings() -> None:
    loaded = loaded_by("import skerry.node.process")
    assert {
        name for name in loaded if name in NOT_IN_THE_AGENT or name.startswith("skerry.hub")
    } == set()


def test_rooms_that_open_later_are_as_lean() -> None:
    rooms = (
        "skerry.node.containers, skerry.node.models.fetching, skerry.node.workloads.runtimes.means"
    )
    assert loaded_by(f"import {rooms}") & {"aiohttp.web", "argparse", "dataclasses"} == set()


def test_a_node_that_does_not_encrypt_loads_nothing_that_does() -> None:
    sealing = {name for name in loaded_by("import skerry.node.process") if "sealing" in name}
    assert sealing == {f"skerry.kit.sealing{part}" for part in ("", ".cipher", ".format")}
    ring = "skerry.kit.sealing.key_ring, skerry.node.store.rotation"
    assert loaded_by(f"import {ring}") & {"cryptography", "dataclasses", "argparse"} == set()


def test_a_node_that_exports_nothing_loads_nothing_that_does() -> None:
    rooms = {"skerry.node.sync.carrying", "skerry.wire.stick", "skerry.node.files.carried"}
    assert loaded_by("import skerry.node.process") & rooms == set()
    carrying = "skerry.node.sync.carrying, skerry.node.files.carried"
    assert loaded_by(f"import {carrying}") & {"cryptography", "dataclasses", "argparse"} == set()


def test_a_node_in_which_nobody_runs_commands_loads_nothing_that_does() -> None:
    rooms = {
        "skerry.node.access.executions", "skerry.node.execution_desk", "skerry.node.execution_port",
        "skerry.node.api.executions", "skerry.core.execution_rules", "skerry.wire.executions",
        "skerry.node.workloads.runtimes.process_execution", "skerry.node.workloads.runtimes.descriptors",
        "skerry.node.workloads.runtimes.containers.execution", "skerry.keeper.executions",
    }  # fmt: skip
    assert loaded_by("import skerry.node.process") & rooms == set()
    assert loaded_by("import skerry.node.containers") & rooms == set()
    assert loaded_by("import skerry.keeper.main") & rooms == set()
    loaded = loaded_by(f"import {', '.join(sorted(rooms))}")
    assert loaded & {"aiohttp.web", "argparse", "dataclasses", "cryptography"} == set()


def test_a_node_without_twins_loads_nothing_that_serves_them() -> None:
    loaded = loaded_by("import skerry.node.process")
    rooms = (
        "skerry.gate",
        "skerry.node.broker",
        "skerry.node.twins",
        "skerry.node.drivers",
        "skerry.node.bus",
    )
    assert [name for name in loaded if name.startswith((*rooms, "skerry.node.cyberwave.room"))] == []  # fmt: skip
    loaded = loaded_by("import skerry.node.cyberwave.room")
    heavy = {"aiohttp.web", "anyio", "argparse", "cryptography", "ctypes", "dataclasses", "yaml"}
    assert loaded & heavy == set()
    # Of the gate's code what both need, but none of what it runs.
    ours = {f"skerry.gate.{name}" for name in ("digests", "journal", "records", "tokens", "topics")}
    assert {name for name in loaded if name.startswith("skerry.gate.")} == ours


def test_the_gate_loads_less_than_the_usual_program() -> None:
    code = f"import sys; sys.path.insert(0, '{SOURCE.parent}'); import skerry.gate.main; print(*sys.modules)"
    words = [sys.executable, "-I", "-S", "-c", code]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    heavy = {"asyncio", "ctypes", "dataclasses", "inspect", "json", "re", "threading", "typing"}
    assert heavy & set(output.split()) == set()


def test_the_agent_does_not_read_the_systems_list_of_kinds_of_files() -> None:
    code = "import skerry.node.process, mimetypes as m; print(m.inited, m.types_map == m.MimeTypes().types_map[True])"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # fmt: skip
    assert output.stdout.split() == ["True", "True"]


def test_scripts_of_workers_are_read_without_what_reads_settings() -> None:
    scan = "from skerry.core.model_scan import scan_files; scan_files([('a.py', 'import os')])"
    assert loaded_by(scan) & {"yaml", "dataclasses"} == set()


def test_the_keeper_loads_the_standard_library_only() -> None:
    loaded = loaded_by("import skerry.keeper.main")
    ours = {
        name
        for name in loaded
        if name.startswith("skerry") and not name.startswith("skerry.keeper")
    }
    assert ours == {"skerry"}
    assert loaded & {"asyncio", "msgspec", "aiohttp", "logging"} == set()


def test_a_workload_that_imports_the_sdk_stays_light() -> None:
    assert loaded_by("import skerry.sdk") & {"aiohttp", "asyncio", "rich", "typer", "yaml"} == set()


def test_no_untyped_middle() -> None:
    pattern = re.compile(r"dict\[str, (typing\.)?Any\]")
    allowed = {"core/yaml_lines.py"}
    files = [path for path in SOURCE.rglob("*.py") if str(path.relative_to(SOURCE)) not in allowed]
    assert [str(path) for path in files if pattern.search(path.read_text())] == []


def test_broad_catches_only_where_they_are_answered() -> None:
    allowed = {
        "kit/tasks.py",
        "kit/commit.py",
        "kit/sqlite.py",
        "hub/store/hub_store.py",
    }  # hand errors to whoever waits
    pattern = re.compile(r"except (Exception|BaseException)\b|except:")
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for line in path.read_text().splitlines()
        if pattern.search(line)
    }
    assert found - allowed == set()


def test_no_test_imports_another() -> None:
    """What two of them need stands in a module beside them, where it is found by its name."""
    pattern = re.compile(r"^from tests\.\w+(\.\w+)?\.test_|^from tests\.test_", re.MULTILINE)
    tests = Path(__file__).parents[1]
    assert [str(p) for p in tests.rglob("*.py") if pattern.search(p.read_text())] == []


def test_no_child_runs_code_of_the_directory_that_it_is_started_in() -> None:
    """`python -m` looks there first; whoever may write there would be whoever started it, who may be root."""
    pattern = re.compile(r'(?<!"-P", )(?<!"-P",\n)(?<!"-I", )"-m",\s')
    lines = re.compile(r"\n\s+")
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "testing" not in path.parts and pattern.search(lines.sub(" ", path.read_text()))
    }
    assert found == set()
