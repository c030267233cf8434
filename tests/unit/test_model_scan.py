"""Which models scripts and configurations name."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.model_configurations import scan_configuration
from skerry.core.model_mentions import Found, Unknown
from skerry.core.model_scan import MAX_NAMED, scan_files, scan_script


def models(text: str) -> list[str]:
    return scan_script("w.py", text).models


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('cw.models.load("a")', ["a"]),
        ("x = cw.models.load('a')", ["a"]),
        ('cw.models.load(\n    "a",\n    device="cpu",\n)', ["a"]),
        ('cw.mlmodels.load("a")', ["a"]),
        ('m = cw.models\nm.load("a")', ["a"]),
        ('m = cw.models\nn = m\nn.load("a")', ["a"]),
        ('load = cw.models.load\nload("a")', ["a"]),
        ('class W:\n    def __init__(self):\n        self.m = cw.models\n    def f(self):\n        self.m.load("a")', ["a"]),
        ('from skerry.sdk import models\nmodels.load("a")', ["a"]),
        ('from skerry.sdk import models as mm\nmm.load("a")', ["a"]),
        ('from skerry.sdk.models import load\nload("a")', ["a"]),
        ('import skerry.sdk\nskerry.sdk.models.load("a")', ["a"]),
        ('cw.models.load(model_id="a")', ["a"]),
        ('ID = "a"\ncw.models.load(ID)', ["a"]),
        ('ID: str = "a"\ncw.models.load(model_id=ID)', ["a"]),
        ('A, B = "a", "b"\ncw.models.load(A)\ncw.models.load(B)', ["a", "b"]),
        ('class C:\n    ID = "a"\ncw.models.load(C.ID)', ["a"]),
        ('cw.models.load("a" if gpu else "b")', ["a", "b"]),
        ('for i in ["a", "b"]:\n    cw.models.load(i)', ["a", "b"]),
        ('IDS = ("a", "b")\nfor i in IDS:\n    cw.models.load(i)', ["a", "b"]),
        ('IDS = ["a"]\n[cw.models.load(i) for i in IDS]', ["a"]),
        ('IDS = ["a"] + ["b"]\nloaded = {i: cw.models.load(i) for i in sorted(IDS)}', ["a", "b"]),
        ('for i, n in [("a", 1), ("b", 2)]:\n    cw.models.load(i)', ["a", "b"]),
        ('IDS = {"x": "a"}\ncw.models.load(IDS["x"])', ["a"]),
        ('IDS = {"a": 1}\nfor i in IDS:\n    cw.models.load(i)', ["a"]),
        ('IDS = {"a": "x"}\nfor i in IDS.keys():\n    cw.models.load(i)', ["a"]),
        ('IDS = {"x": "a"}\nfor i in IDS.values():\n    cw.models.load(i)', ["a"]),
        ('IDS = {"x": "a"}\nfor _, i in IDS.items():\n    cw.models.load(i)', ["a"]),
        ('cw.models.load(["a", "b"])', ["a", "b"]),
        ('IDS = ["a", B]\nB = "b"\ncw.models.load(IDS, store_input=True)', ["a", "b"]),
        ('i = []\ni.append("a")\ni += ["b"]\nfor j in i:\n    cw.models.load(j)', ["a", "b"]),
        ('V = 8\ncw.models.load(f"yolo{V}n")\ncw.models.load(f"yolo{11}s")', ["yolo11s", "yolo8n"]),
        ('cw.models.load(os.environ.get("M", "a"))', ["a"]),
        ('ID = os.getenv("M", "a")\ncw.models.load(ID)', ["a"]),
        ('class M(str, Enum):\n    A = "a"\ncw.models.load(M.A.value)', ["a"]),
        ('m = "a"\nm += "b"\ncw.models.load(m)', ["a"]),
        ('V = "8"\ncw.models.load(f"yolo{V}n")', ["yolo8n"]),
        ('P = "yolo"\ncw.models.load(P + "-s")', ["yolo-s"]),
        ('if (m := cw.models.load("a")):\n    pass', ["a"]),
        ('async def f():\n    await cw.models.load("a")', ["a"]),
        ('def f(i="a"):\n    cw.models.load(i)', ["a"]),
        ('# cw.models.load("a")', []),
        ('"""cw.models.load("a")"""', []),
        ('def f():\n    "cw.models.load(\'a\')"', []),
        ('json.load("a")', []),
        ('cw.models.list("a")', []),
        ('load("a")', []),
        ('x = "cw.models.load(\'a\')"', []),
    ],
)  # fmt: skip
def test_scripts(text: str, expected: list[str]) -> None:
    assert models(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ('\ncw.models.load(f"yolo{size}")', 2, "«f'yolo{size}'» cannot be known without running it"),
        ("cw.models.load(os.environ['M'])", 1, "«os.environ['M']» cannot be known without running it"),
        ("cw.models.load(choose())", 1, "«choose()» cannot be known without running it"),
        ("def f(i):\n    cw.models.load(i)", 2, "«i» cannot be known without running it"),
        ("cw.models.load()", 1, "it is called without an id"),
        ("x = (", 1, "no Python: '(' was never closed"),
        ("\0", 1, "no Python: source code string cannot contain null bytes"),
        ("x = x\ncw.models.load(y)\n", 2, "«y» cannot be known without running it"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_said(text: str, line: int, cause: str) -> None:
    assert scan_script("w.py", text).unknown == (Unknown("w.py", line, cause),)


def test_an_id_that_cannot_be_one_is_told_with_what_it_is() -> None:
    found = scan_script("w.py", 'cw.models.load("../etc")').unknown
    fault = "«../etc» cannot be the name of a file: it begins with a dot"
    assert found == (Unknown("w.py", 1, fault, "../etc"),)


def test_what_is_known_is_told_beside_what_is_not() -> None:
    scan = scan_script("w.py", 'i = "a"\nif x:\n    i = choose()\ncw.models.load(i)')
    assert scan.models == ["a"]
    assert len(scan.unknown) == 1


def test_of_a_script_for_another_python_what_is_written_out_is_found() -> None:
    text = 'def f(:\n    x = cw.models.load( "a", device="cpu")\n    # cw.models.load("b")\ncw.mlmodels.load(\'../c\')\n'
    scan = scan_script("w.py", text)
    assert scan.found == (Found("w.py", 2, "a"),)
    assert [each.line for each in scan.unknown] == [1, 4]


def test_circles_end() -> None:
    scan = scan_script(
        "w.py", "a = b\nb = a\ncw.models.load(a)\nc = [*c]\nfor d in c:\n    cw.models.load(d)"
    )
    assert scan.models == []
    deep = "cw.models.load(" + "-" * 5000 + "1)"
    assert scan_script("w.py", deep).unknown


def test_a_script_that_doubles_with_each_line_costs_little() -> None:
    lines = ['x0 = "a"', *(f"x{n + 1} = x{n} if c else x{n}" for n in range(60))]
    scan = scan_script("w.py", "\n".join([*lines, "cw.models.load(x60)"]))
    assert [each.line for each in scan.unknown] == [62]


def test_configurations() -> None:
    text = "name: w\nmodels:\n  - yolo\n  - {id: depth}\n  - model_id: pose\n  - [x]\n  - ../x\n  - 1.10\n"
    scan = scan_configuration("cyberwave.yml", text)
    assert scan.found == (
        Found("cyberwave.yml", 3, "yolo"),
        Found("cyberwave.yml", 4, "depth"),
        Found("cyberwave.yml", 5, "pose"),
        Found("cyberwave.yml", 8, "1.10"),
    )
    assert [each.line for each in scan.unknown] == [6, 7]
    for empty in ("models:", "", "name: w"):
        assert not scan_configuration("skerry.yml", empty).unknown
    for odd in ("models: yolo", "models: {a: b}", "- a\n- b", "yolo", "{"):
        scan = scan_configuration("skerry.yml", odd)
        assert (scan.found, len(scan.unknown)) == ((), 1)


def test_files_by_their_names() -> None:
    scan = scan_files(
        [
            ("b.py", 'cw.models.load("b")'),
            ("a/cyberwave.yml", "models: [a]"),
            ("notes.txt", 'cw.models.load("c")'),
            ("other.yml", "models: [d]"),
        ]
    )
    assert scan.found == (Found("a/cyberwave.yml", 1, "a"), Found("b.py", 1, "b"))


pieces = st.sampled_from(
    ["cw", ".models", ".load", "(", ")", '"a"', "=", "m", "\n", "for ", " in ", "[", "]", ",", ":", "    ", "f'{m}'", "lambda ", "#"]
)  # fmt: skip


@given(st.lists(pieces, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    scan_script("w.py", text)
    scan_configuration("skerry.yml", text)


def _doubled(lines: int, last: str) -> str:
    doubled = "".join(f"x{n} = x{n + 1} + x{n + 1}\n" for n in range(lines))
    return f"{doubled}x{lines} = {last}\n"


@pytest.mark.parametrize(
    "text",
    [
        _doubled(40, '["a"]') + "for m in x0:\n    cw.models.load(m)\n",
        _doubled(40, '["a"]') + "cw.models.load(x0[1])\n",
        _doubled(10, f"[{'1,' * 1000}]") + "for a, b in x10:\n    cw.models.load(a)\n" * 1000,
        _doubled(12, f'"{"a" * 25_000}"') + "cw.models.load(x0)\n",
        f"V = 0x{'f' * 5000}\ncw.models.load(f'm{{V}}')\n",
        _doubled(11, '["a"]') + "for m in x0:\n    cw.models.load(m)\n" * 200,
    ],
)
def test_a_script_that_is_written_to_keep_its_reader_busy_cannot_be_known(text: str) -> None:
    steps: list[int] = []

    def count(*_: object) -> None:
        steps.append(1)
        assert len(steps) < 3_000_000

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = scan_script("w.py", text)
    finally:
        sys.setprofile(before)
    assert found.unknown
    assert all(len(each.model) < 256 for each in found.unknown)


def test_what_one_script_names_is_bounded() -> None:
    names = ", ".join(f'"m{n}"' for n in range(2000))
    script = f"for m in [{names}]:\n    cw.models.load(m)\n    cw.models.load('z')\n"
    found = scan_script("w.py", script)
    assert len(found.found) == MAX_NAMED
    assert len(found.unknown) == 1 + 1
