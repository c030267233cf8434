"""The level that a line states, and which lines it holds for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.log_lines import (
    Levels,
    LogLine,
    level_named,
    level_of,
    line_meta,
    parse_line,
    reaches,
    record_line,
)
from skerry.keeper.log_file import moment
from skerry.kit.errors import InvalidInput
from skerry.wire.logs import LogQuery, read_log_query
from skerry.wire.records import Row
from skerry.wire.workload import Level


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ('{"level":"warn","msg":"x"}', "warning"),
        ('{"ts": 1, "severity": "ERROR", "message": "x"}', "error"),
        ('{"levelname": "CRITICAL"}', "critical"),
        ('{"level":30,"msg":"pino"}', "info"),
        ('{"level":60}', "critical"),
        ('{"level":"nonsense"}', None),
        ("time=12 level=debug msg=x", "debug"),
        ('ts=1 lvl="eror" msg=x', "error"),
        ("ERROR: it failed", "error"),
        ("Error: Cannot find module", "error"),
        ("warning: unused variable", "warning"),
        ("fatal: not a git repository", "critical"),
        ("panic: runtime error", "critical"),
        ("[WARN] low", "warning"),
        ("2026/11/21 02:34:44 [error] 12#0: upstream", "error"),
        ("2026-11-21 02:34:44,123 - root - INFO - hello", "info"),
        ("INFO:root:hello", "info"),
        ("WARNING:root:hello", "warning"),
        ("2026-11-21 02:34:44 [main] ERROR c.acme.Main - x", "error"),
        ("[2026-11-21 10:00:00] ERROR in app: x", "error"),
        ("DEBUG\tx", "debug"),
        ("2026-11-21T02:34:44Z|WARN|x", "warning"),
        ("\x1b[33mWARNING\x1b[0m x", "warning"),
        ("<3>disk is gone", "error"),
        ("<30>a facility with it", "info"),
        ("E0723 12:34:56.789 7 main.go:3] x", "error"),
        ("I0723 12:34:56.789 7 main.go:3] x", "info"),
        ("Traceback (most recent call last):", "error"),
        ('Exception in thread "main" java.lang.Error', "error"),
        ("thread 'main' panicked at src/main.rs:2", "error"),
        ("hello", None),
        ("", None),
        ("no error found", None),
        ("GET /INFO/x", None),
        ("INFORMATION: x", "info"),
        ("level 3 reached", None),
        ("key: value", None),
        ("[main] x", None),
        ("x " * 100 + "ERROR", None),
    ],
)
def test_levels(text: str, level: Level | None) -> None:
    assert level_of(text) == level


@given(st.text(max_size=300))
def test_any_text_has_a_level_or_none(text: str) -> None:
    level_of(text)


@pytest.mark.parametrize(
    "text", ["{" + '"level" ' * 9000, "[" * 70000, "level=" * 9000, "A" * 70000]
)
def test_no_line_takes_long(text: str) -> None:
    level_of(text)


def levels(*lines: str) -> list[Level | None]:
    """`lines` are «text», «2 text» from stderr or «P text» for a piece."""
    seen = Levels()
    found = []
    for line in lines:
        stream = "stderr" if line.startswith("2 ") else "stdout"
        whole = not line.startswith("P ")
        text = line[2:] if stream == "stderr" or not whole else line
        found.append(seen.of(LogLine("", stream, whole, text)))
    return found


def test_a_traceback_is_an_error_to_its_last_line() -> None:
    assert levels(
        "INFO: start",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "2 INFO: other stream",
        "    1/0",
        "ZeroDivisionError: division by zero",
        "plain",
    ) == ["info", "error", "error", "info", "error", "error", None]


def test_indented_lines_and_pieces_belong_to_the_line_before() -> None:
    assert levels(
        "ERROR: failed", "\tat Main.java:3", "  caused by", "next", "  of nothing", "P WARNING: a", "INFO: b", "c"
    ) == ["error", "error", "error", None, None, "warning", "warning", None]  # fmt: skip


def test_what_a_reader_wants() -> None:
    assert reaches(None, None)
    assert reaches("debug", None)
    assert not reaches(None, "debug")
    assert reaches("error", "warning")
    assert not reaches("info", "warning")
    assert level_named("WARN") == "warning"
    assert level_named("warnin") is None


def test_a_record_of_a_line_is_the_line_again() -> None:
    for text in (
        "2026-11-21T02:34:44.123456789Z stderr P some  text ",
        "2026-11-21T02:34:44.000000001Z stdout F ",
    ):
        line = parse_line(text)
        assert line is not None
        at = moment(line.at.encode())
        assert at is not None
        meta = line_meta(line, "error")
        assert meta["level"] == "error"
        assert record_line(Row(line.at, "skerry.log.w", line.text, meta, "n", "w", at)) == text


@given(
    st.builds(
        LogQuery,
        since=st.none() | st.integers(),
        until=st.none() | st.integers(),
        level=st.sampled_from([None, "error"]),
        follow=st.booleans(),
    )
)
def test_queries_travel(query: LogQuery) -> None:
    assert read_log_query({"workload": "w", **query.arguments()}) == query


@pytest.mark.parametrize("wrong", [{"since": "x"}, {"until": "1.5"}, {"level": "loud"}])
def test_wrong_queries(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="cannot read logs"):
        read_log_query(wrong)
