"""Fails when a file or a function has outgrown the house (CONTRIBUTING.md, «Sizes»)."""

import ast
import pathlib
import sys

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
ROOTS = ("src", "tests", "bench", "tools")


def findings(path: pathlib.Path) -> list[str]:
    """One line for each size in `path` that is over its limit."""
    text = path.read_text()
    found = []
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        found.append(f"{path}: {lines} lines, at most {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(
                    f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}"
                )
    return found


def main() -> int:
    """Prints every finding; the exit code says whether there was one."""
    found = [
        line
        for root in ROOTS
        for path in sorted(pathlib.Path(root).rglob("*.py"))
        for line in findings(path)
    ]
    print("\n".join(found) or "sizes: every file and function is within its limit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
