"""What the command line shows: tables in every form, ages, and words that cannot move the cursor."""

import csv
import io
import json

from skerry.cli.logs import printable
from skerry.cli.output import (
    Cell,
    Form,
    Line,
    Screen,
    Table,
    ago,
    number,
    pairs,
    word,
    words,
    yes_no,
)
from skerry.cli.states import link_sentence
from skerry.kit.clock import NS
from skerry.wire.local import LinkStatus

NOW = 1_790_000_000 * NS


def shown(form: Form, table: Table) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    Screen(form, out, err).show(table)
    return out.getvalue(), err.getvalue()


TABLE = Table(
    ("NAME", "ON DISK"),
    [("a", Cell("1 KB", raw="1000")), ("b\x1b[2J", word("running"))],
    [{"name": "a"}],
)


def test_tables_for_people_keep_one_line_a_row() -> None:
    out, _ = shown(Form.TABLE, TABLE)
    assert [line.split() for line in out.splitlines()] == [
        ["NAME", "ON", "DISK"],
        ["a", "1", "KB"],
        ["b\ufffd[2J", "running"],
    ]
    wide = Table(("X",), [("w " * 300,)], [])
    assert len(shown(Form.TABLE, wide)[0].splitlines()) == 2


def on_a_terminal(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    screen = Screen(Form.TABLE, out, io.StringIO())
    screen.console.width = width
    screen.show(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_what_a_line_is_about_stays_whole_on_a_terminal() -> None:
    """People copy names, UUIDs and times; what is said of them is broken into lines instead."""
    table = Table(("NAME", "A", "B"), [("n" * 40, "a " * 40, "b" * 60), ("m", "", "")], [])
    lines = on_a_terminal(table, 100)
    assert all(len(line) <= 100 for line in lines)
    assert [line for line in lines if "n" * 40 in line]
    assert "".join(lines).count("b") == 60
    narrow = on_a_terminal(table, 50)
    assert all(len(line) <= 50 for line in narrow)
    assert "".join(narrow).count("n") == 40


def test_what_is_said_stands_below_its_row_where_a_terminal_is_too_narrow() -> None:
    rows = [("arm", "pending", "no image " * 10), ("eye", "running", "")]
    table = Table(("NAME", "PHASE", "MESSAGE"), rows, [], below="MESSAGE")
    assert on_a_terminal(table, 120)[0].split() == ["NAME", "PHASE", "MESSAGE"]
    assert on_a_terminal(table, 60) == [
        "NAME  PHASE",
        "arm   pending",
        "    no image no image no image no image no image no image no",
        "    image no image no image no image",
        "eye   running",
    ]


def test_csv_and_json_are_for_programs() -> None:
    out, _ = shown(Form.CSV, TABLE)
    assert out == "name,on_disk\na,1000\nb\x1b[2J,running\n"
    out, _ = shown(Form.JSON, TABLE)
    assert json.loads(out) == [{"name": "a"}]


def test_what_people_and_programs_see_of_a_table() -> None:
    table = Table(
        ("NAME", "LIST", "MAP", "OK", "AT"),
        [("a", words(["x", "y"]), pairs({"k": "v"}), yes_no(True), number(1.5))],
        [],
        lead=[Line("above")],
        csv_only={"AT"},
    )
    assert [line.split() for line in shown(Form.TABLE, table)[0].splitlines()] == [
        ["above"],
        ["NAME", "LIST", "MAP", "OK"],
        ["a", "x", "y", "k=v", "yes"],
    ]
    [row] = csv.DictReader(io.StringIO(shown(Form.CSV, table)[0]))
    assert row == {"name": "a", "list": '["x", "y"]', "map": '{"k": "v"}', "ok": "true", "at": "1.5"}  # fmt: skip


def test_what_a_command_has_done_in_every_form() -> None:
    def told(form: Form) -> str:
        out = io.StringIO()
        Screen(form, out, io.StringIO()).tell("«a» is gone", {"workload": "a", "gone": True})
        return out.getvalue()

    assert told(Form.TABLE) == "«a» is gone\n"
    assert json.loads(told(Form.JSON)) == {"workload": "a", "gone": True}
    assert told(Form.CSV) == "workload,gone\na,true\n"


def test_an_empty_table_says_so_on_stderr() -> None:
    empty = Table(("NAME",), [], [], "no nodes yet")
    assert shown(Form.TABLE, empty) == ("", "skerry: no nodes yet\n")
    assert shown(Form.JSON, empty) == ("[]\n", "")
    assert shown(Form.CSV, empty) == ("name\n", "")


def test_ages_and_links() -> None:
    assert ago(NOW - 65 * NS, NOW) == Cell("1m 5s ago", raw=NOW - 65 * NS)
    link = LinkStatus("offline", NOW - 5 * NS, "http://h:1", "connection refused")
    assert link_sentence(link, NOW) == (
        "offline for 5.0s (since 2026-09-21T14:13:15.000000000Z) to http://h:1: connection refused"
    )
    assert link_sentence(LinkStatus("standalone", NOW), NOW).startswith("standalone: ")


def test_a_workload_cannot_move_the_cursor() -> None:
    assert printable("a\tb \x1b[2J\r") == "a\tb \ufffd[2J\ufffd"
