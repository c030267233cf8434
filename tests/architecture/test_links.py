"""Every link between the documents leads to a file and a heading that are there, and so does every document that code names."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
    if path.is_file()
]
SOURCES = [
    *(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.sql"), *(ROOT / "src").rglob("*.yaml"),
    *(ROOT / "tests").rglob("*.py"), *(ROOT / "deploy").rglob("*.service"), *(ROOT / "deploy").rglob("*.yaml"),
]  # fmt: skip

LINK = re.compile(r"\]\(([^()\s]+)\)")
NAMED = re.compile(r"docs/(?:operate|reference|adr)/[\w.-]+\.md(?:#[\w-]+)?")
"""Of the decisions code names most by their number alone."""

FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings: a second one of the same words has «-1»."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title.strip())
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    more = (f"{name}-{n}" for name, times in found.items() for n in range(1, times + 1))
    return frozenset((*found, *more))


def lead_nowhere(target: str, base: Path) -> bool:
    path, _, anchor = target.partition("#")
    page = base / path if path else base
    if not page.exists():
        return True
    return bool(anchor) and page.suffix == ".md" and anchor not in anchors(page.resolve())


def test_links_lead_somewhere() -> None:
    wrong = []
    for page in PAGES:
        for target in LINK.findall(FENCED.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            is_here = target.startswith("#")
            if lead_nowhere(target, page if is_here else page.parent):
                wrong.append(f"{page.relative_to(ROOT)}: {target}")
    assert wrong == []


def test_documents_that_code_names_are_there() -> None:
    wrong = [
        f"{source.relative_to(ROOT)}: {target}"
        for source in SOURCES
        for target in NAMED.findall(source.read_text())
        if lead_nowhere(target, ROOT)
    ]
    assert wrong == []
