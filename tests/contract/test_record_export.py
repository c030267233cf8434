"""The export of records: all of them, each once, in order, however their times are spread; typed as they were."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
from pyarrow import parquet
from tests.hub_rig import HubRig, Lanes, batch

from skerry.cli.record_files import COLUMNS, Format, open_record_file
from skerry.hub.data import export
from skerry.hub.data.export import RecordExport, following
from skerry.hub.data.query import Wanted
from skerry.wire.exports import ExportRow
from skerry.wire.records import Batch, Record, Value

DAY = 86_400 * 10**9
NOW = 1_760_000_000_000_000_000


async def exported(hub: HubRig, wanted: Wanted) -> list[ExportRow]:
    rows: list[ExportRow] = []
    end = None
    async for line in RecordExport(hub.store, hub.query).lines(wanted):
        assert len(line.rows) <= max(export.PAGE, 70)
        rows += line.rows
        end = line.end
    assert end == len(rows)
    return rows


async def test_each_record_once_in_order(hub: HubRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAGE", 50)
    node = await hub.enrol("n1")
    chance = random.Random(5)
    times = [
        *(NOW + n * 10**9 for n in range(400)),
        *(
            NOW - 7000 * DAY + n for n in range(120)
        ),  # a clock that began in 2006, all in one microsecond
        *(NOW + 300 * DAY + chance.randrange(DAY) for _ in range(80)),
        *([NOW + 17] * 70),  # more than a page at one moment
    ]
    chance.shuffle(times)
    records = [Record(n, f"s.{n % 3}", at, n, {"unit": "m"}) for n, at in enumerate(times)]
    lanes = Lanes()
    unit = lanes.unit(
        "keep", [Batch("measurement", "cam", "ab" * 16, 1, NOW, 1, "synced", records)]
    )
    await hub.push(node.node_id, unit)
    await hub.push(node.node_id, lanes.unit("event", [batch("up", name="e", kind="event")]))

    rows = await exported(hub, Wanted(kind="measurement"))
    assert sorted(row.value for row in rows) == list(range(len(times)))  # type: ignore[type-var]
    assert [row.at for row in rows] == sorted(times)
    assert len(await exported(hub, Wanted())) == len(times) + 1

    only = await exported(hub, Wanted("s.1", "n1", "cam", None, NOW, NOW + 200 * 10**9))
    fitting = [n for n, at in enumerate(times) if n % 3 == 1 and NOW <= at < NOW + 200 * 10**9]
    assert sorted(row.value for row in only) == fitting  # type: ignore[type-var]
    assert await exported(hub, Wanted(node="n2")) == []


def test_how_long_the_next_window_is() -> None:
    assert following(100, 50, truncated=True) == 25
    assert following(1, 50, truncated=True) == 1
    assert following(100, 0, truncated=False) == 400
    assert following(100, export.PAGE, truncated=False) == 100


ROWS = [
    ExportRow(NOW + n, "a.b", "n1", "cam", "measurement", value, {"unit": "°C", "k": 1})
    for n, value in enumerate([1.5, 2**53 + 1, True, "=1+1", 'say "hi",\nall', "", float(2**60)])
]


def test_csv_has_every_text_in_quotation_marks_and_unchanged(tmp_path: Path) -> None:
    file = open_record_file(Format.CSV, tmp_path / "a.csv")
    file.write(ROWS)
    file.close()
    text = (tmp_path / "a.csv").read_text()
    assert '"text","=1+1","°C"' in text
    with (tmp_path / "a.csv").open(newline="") as opened:
        found = list(csv.DictReader(opened))
    assert tuple(found[0]) == COLUMNS
    assert [row["value"] for row in found] == [
        "1.5", "9007199254740993", "true", "=1+1", 'say "hi",\nall', "", "1.152921504606847e+18",
    ]  # fmt: skip
    assert [row["type"] for row in found] == [
        "float",
        "int",
        "bool",
        "text",
        "text",
        "text",
        "float",
    ]
    assert found[0]["time"] == "2025-10-09T08:53:20.000000000Z"
    assert {(row["unit"], row["meta"]) for row in found} == {("°C", '{"unit":"°C","k":1}')}


def test_parquet_keeps_types(tmp_path: Path) -> None:
    file = open_record_file(Format.PARQUET, tmp_path / "a.parquet")
    for row in ROWS:
        file.write([row])
    file.close()
    table = parquet.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    found = table.drop_columns(["time"]).to_pylist()
    exact: list[Value] = [
        next(
            v for v in (row["boolean"], row["integer"], row["text"], row["value"]) if v is not None
        )
        for row in found
    ]
    assert exact == [row.value for row in ROWS]
    assert [type(value) for value in exact] == [type(row.value) for row in ROWS]
    assert table.column("time").cast("int64").to_pylist() == [row.at for row in ROWS]
    assert {row["unit"] for row in found} == {"°C"}
