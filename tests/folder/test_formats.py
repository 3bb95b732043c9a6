"""Tables: what each format's file holds, and that every row comes back from it, whoever wrote it."""

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.processes import NOT_TEXT

from qfm_metric.cli.output import write_rows
from qfm_metric.folder import formats
from qfm_metric.folder.file_names import key
from qfm_metric.folder.formats import FORMATS
from qfm_metric.folder.journal import Journal, read_table
from qfm_metric.folder.row import COLUMNS, Row, columns_with, read_row

FACTS = {"jpeg_quality": 85, "jpeg_tables": "standard", "recompressed": 1, "earlier_quality": 70}
FACTS |= {"enlarged": 1.5, "shadows": 0.25, "highlights": 0.0, "bits": 8}
ROWS = [
    Row("a.png", 0.25, 0.125, 40, 30, extra={"lowest": 0.0625, **FACTS}),
    Row("größe, 猫.png", 1.0, None, 1, 1, note='say "seen"', extra={"lowest": 1.0}),
    Row('two\nlines, "quoted".png', error="'two\nlines': expected a picture"),
    Row("old\rlines.png", 0.5, extra={"lowest": 0.5}),
    Row("\r\n.png", 0.5, extra={"lowest": 0.5}),
]
NAMES = {  # the same three rows, as files of names
    "a.csv": 'path,score,error,width\nx.png,0.5000,,40\n"y,.png",,broken,\n',
    "a.json": '{"signature": "by me", "results": [{"path": "x.png", "score": 0.5, "error": null, "width": 40},'
    '{"path": "y,.png", "score": null, "error": "broken"}]}',
    "a.jsonl": '{"signature": "by me"}\n{"path": "x.png", "score": 0.5, "width": 40}\n'
    '{"path": "y,.png", "score": null, "error": "broken"}\n',
}
BOM = "\ufeff"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, rows, columns, signature="by me"):
    """A file in the format of this name, as the command writes it."""
    path, form = Path(f"scores.{name}"), FORMATS[name]
    journal = Journal(path, form)
    file, _ = journal.begin({"signature": signature}, resume=False)
    with file:
        write_rows(rows, file.write, form, columns, signature)
        journal.finish(columns)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_comes_back_with_what_scored_it(monkeypatch, name):
    monkeypatch.setattr(formats, "GROUP", 2)  # of five
    assert read_table(write(name, ROWS, columns_with(tiles=True, facts=True))) == (ROWS, "by me")


@pytest.mark.parametrize("name", FORMATS)
def test_no_rows_come_back_from_a_table_of_none(name):
    assert read_table(write(name, [], columns_with())) == ([], "by me")


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_that_is_not_text_is_still_told_apart(name):
    (row,), _ = read_table(write(name, [Row(NOT_TEXT, 0.5)], columns_with()))
    assert key(row.path) == key(NOT_TEXT)


@pytest.mark.parametrize("name", FORMATS)
def test_columns_that_were_not_asked_for_are_not_there(name):
    (row, *_), _ = read_table(write(name, ROWS, columns_with()))
    assert row.extra == {}


@pytest.mark.parametrize("name", NAMES)
def test_results_of_earlier_runs(name):
    Path(name).write_text(NAMES[name])
    rows, signature = read_table(name)
    assert rows == [Row("x.png", 0.5, width=40), Row("y,.png", error="broken")]
    assert signature == ("" if name == "a.csv" else "by me")


def test_a_table_as_a_spreadsheet_or_pandas_writes_it():
    """A byte order mark; NaN for nothing, and so 300.0 for a whole number beside it; columns of their own."""
    Path("a.csv").write_text(
        f"{BOM},path,score,std,width,height,error,note\n0,x.png,0.5,NaN,300.0,200.0,,\n1,y.png,nan,,,,broken,\n",
        encoding="utf-8",
    )
    nothing = float("nan")
    lines = [
        {"path": "x.png", "score": 0.5, "std": nothing, "width": 300.0, "height": 200.0, "error": nothing},
        {"path": "y.png", "score": nothing, "width": nothing, "height": None, "error": "broken", "mine": 7},
    ]
    Path("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    expected = [Row("x.png", 0.5, width=300, height=200), Row("y.png", error="broken")]
    for name in ("a.csv", "a.jsonl"):
        assert read_table(name)[0] == expected


def test_a_table_as_r_writes_it():
    Path("a.csv").write_text(
        '"","path","score","std","width","error","note"\n"1","x.png",0.5,NA,300,NA,NA\n"2","y.png",NA,NA,NA,"broken",NA\n'
    )
    assert read_table("a.csv")[0] == [Row("x.png", 0.5, width=300), Row("y.png", error="broken")]


def test_rows_that_a_spreadsheet_has_emptied_are_none():
    Path("a.csv").write_text("path,score,std\n,,\nx.png,0.5,\n,,\n,,\n")
    assert read_table("a.csv")[0] == [Row("x.png", 0.5)]


@pytest.mark.parametrize("begin", ["", BOM])
@pytest.mark.parametrize(
    ("name", "end"),
    # Excel's CSV for the Macintosh ends lines by \r; no editor saves JSON lines so.
    [(name, end) for name in NAMES for end in ("\n", "\r\n", "\r") if (Path(name).suffix, end) != (".jsonl", "\r")],
)
def test_a_table_as_an_editor_of_another_system_writes_it(name, begin, end):
    Path(name).write_text(NAMES[name])
    expected = read_table(name)
    Path(name).write_text(begin + NAMES[name].rstrip("\n"), encoding="utf-8", newline=end)
    assert read_table(name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_table_in_utf_16_is_told(name):
    """As > of PowerShell writes."""
    Path(name).write_text(NAMES[name], encoding="utf-16")
    with pytest.raises(ValueError, match="expected text in UTF-8, got UTF-16"):
        read_table(name)


@pytest.mark.parametrize("parted", [";", "\t"])
def test_columns_that_are_parted_otherwise_are_told(parted):
    Path("a.csv").write_text(parted.join(["path", "score"]) + "\n" + parted.join(["x.png", "0,5"]) + "\n")
    with pytest.raises(
        ValueError, match=r"expected a heading with the column path, parted by commas, got 'path.{1,2}score"
    ):
        read_table("a.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": None, "score": 0.5}, "expected a path, got None"),
        ({"path": "x", "score": 1.5}, r"expected a score in \[0, 1\], got 1.5"),
        ({"path": "x", "score": -0.1}, r"expected a score in \[0, 1\], got -0.1"),
        ({"path": "x", "score": 0.5, "width": 300.5}, "expected a whole number for width, got 300.5"),
        ({"path": "x", "score": 0.5, "width": "wide"}, "wide"),
        ({"path": "x", "score": [0.5]}, "list"),
        ({"path": "x", "score": True}, "expected a number for score, got True"),
    ],
)
def test_values_that_are_no_row(values, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read_row(values)


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_and_paths_of_other_libraries_are_written_as_pythons(name):
    numpy = Row(
        Path("x.png"),
        np.float32(0.25),
        np.float16(0.5),
        np.int64(300),
        np.float64(200),
        extra={"recompressed": np.True_, "bits": torch.tensor(8), "shadows": torch.tensor([0.125])},
    )
    python = Row("x.png", 0.25, 0.5, 300, 200, extra={"recompressed": 1, "bits": 8, "shadows": 0.125})
    assert numpy == python
    assert read_table(write(name, [numpy], columns_with(facts=True)))[0] == [python]


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ({"score": "0.5"}, TypeError, "score of 'x.png': expected a number, got str"),
        ({"score": torch.zeros(2)}, TypeError, "score of 'x.png': expected a number, got Tensor"),
        ({"score": float("nan")}, ValueError, "score of 'x.png': expected a finite number, got nan"),
        ({"std": np.float32("inf")}, ValueError, "std of 'x.png': expected a finite number, got inf"),
        ({"width": 300.5}, ValueError, "width of 'x.png': expected a whole number, got 300.5"),
        ({"error": KeyError("x")}, TypeError, "error of 'x.png': expected text, got KeyError"),
        ({"extra": {"noise": [0.5]}}, TypeError, "noise of 'x.png': expected a number, got list"),
        ({"path": None}, TypeError, "path: expected a path, got NoneType"),
        ({"extra": None}, TypeError, "extra of 'x.png': expected columns by name, got NoneType"),
        ({"std": 10**400}, TypeError, "std of 'x.png': expected a number, got int"),
    ],
)
def test_a_row_of_what_its_columns_cannot_hold_is_refused_by_name(values, kind, says):
    with pytest.raises(kind, match=says):
        Row(**{"path": "x.png", "score": 0.5, **values})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "path,score,score\nx.png,0.5,0.6\n", "expected one column of each name, got path,"),
        ("a.txt", "", r"expected a file of scores \(\.json, \.jsonl, \.csv"),
        ("a.csv", "name,score\nx,0.5\n", "row 1: .*expected a heading with the column path"),
        ("a.csv", "path, score\nx,0.5\n", "row 1: .*no 'score' among 'path', ' score'"),
        ("a.csv", "path,score\nx,high\n", "row 1: .*high"),
        ("a.csv", "path,score\nx,0.5\ny,7\n", r"row 2: .*got 7"),
        ("a.csv", "path,score\nx,0.5\ny\n", "row 2: .*expected 2 fields, got 1"),
        ("a.csv", 'path,score\nx,0.5\n"y', "row 2: .*a quoted field has no end"),
        ("a.json", '{"results": [{"path"', "cut off"),
        ("a.json", '[{"path": "x", "score": 0.5}]', r"list `results`, got other JSON; rows alone are \.jsonl"),
        ("a.json", '{"results": 5}', "list `results`, got other JSON"),
        ("a.json", '{"results": [5]}', "row 1: .*expected a JSON object, got 5"),
        ("a.json", '{"results": ["a.png"]}', 'row 1: .*expected a JSON object, got "a.png"'),
        ("a.jsonl", '{"path": "x", "score": 0.5}\n{"pa', "row 2"),
        ("a.jsonl", "5\n", "expected a JSON object, got b'5"),
        ("a.jsonl", "[" * 100_000 + "\n", "row 1: .*recursion"),
        ("a.json", "[" * 100_000, "list `results`"),
    ],
)
def test_files_that_are_no_results(name, content, message):
    Path(name).write_text(content)
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        read_table(name)


def test_a_quote_without_end_in_front_of_many_rows_is_told_at_once():
    Path("a.csv").write_text('path,score\n"x,0.5\n' + "y,0.5\n" * 200_000)
    before = time.process_time()
    with pytest.raises(ValueError, match="a quoted field has no end"):
        read_table("a.csv")
    assert time.process_time() - before < 3  # seconds; .1 if each line is looked at once, 20 if all before it are, too


def read_by_pyarrow(path):
    """With what its users read it."""
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path)
    with pytest.importorskip("pyarrow").memory_map(str(path)) as file:
        return pytest.importorskip("pyarrow.ipc").open_file(file).read_all()


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_what_pyarrow_reads_of_a_binary_file(name):
    table = read_by_pyarrow(write(name, ROWS, columns_with(tiles=True, facts=True)))
    assert table.column_names == [*COLUMNS, "lowest", *FACTS]
    assert [str(column.type) for column in table.columns] == [
        *["string", "double", "double", "int32", "int32", "string", "string", "double"],
        *["int32", "string", "int32", "int32", "double", "double", "double", "int32"],
    ]
    assert table.to_pylist()[0] == {name: ROWS[0].value(name) for name in (*COLUMNS, "lowest", *FACTS)}


def test_what_sql_reads_of_a_database(monkeypatch):
    monkeypatch.setattr(formats, "GROUP", 2)
    with closing(sqlite3.connect(write("sqlite", ROWS, columns_with(tiles=True)))) as base:
        assert base.execute("SELECT path FROM scores WHERE score > 0.5").fetchall() == [("größe, 猫.png",)]
        assert base.execute("SELECT typeof(score), typeof(width), typeof(note) FROM scores").fetchall()[0] == (
            "real",
            "integer",
            "null",
        )
        plan = base.execute("EXPLAIN QUERY PLAN SELECT score FROM scores WHERE path = 'a.png'").fetchall()
        assert "USING INDEX scores_by_path" in plan[0][3]
    assert sorted(path.name for path in Path().iterdir()) == ["scores.sqlite", "scores.sqlite.run.json"]


def test_a_database_of_another_kind_is_no_table_of_scores():
    with closing(sqlite3.connect("a.sqlite")) as base:
        base.execute("CREATE TABLE x (y)")
    with pytest.raises(ValueError, match=r"a\.sqlite: row 1: .*expected an SQLite database with a table `scores`"):
        read_table("a.sqlite")


def test_a_parquet_file_of_another_program():
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    nothing = float("nan")
    columns = {"path": ["x.png", "y.png"], "score": [0.5, nothing], "width": [300.0, nothing], "mine": [1, 2]}
    parquet.write_table(pa.table(columns), "a.parquet")
    Path("a.parquet.run.json").write_text('{"signature": "by me"}')
    assert read_table("a.parquet") == ([Row("x.png", 0.5, width=300), Row("y.png")], "by me")
    parquet.write_table(pa.table({"path": ["x", "y"], "score": [0.5, 7.0]}), "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: row 2: .*got 7\.0"):
        read_table("a.parquet")


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.package])
def test_binary_files_that_cannot_be_read(monkeypatch, name):
    path = write(name, ROWS, columns_with())
    data = path.read_bytes()
    for damaged in (b"", data[: len(data) // 2], bytes(100)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"scores\.{name}: .*expected a whole"):
            read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(f"none.{name}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"expected pyarrow to be installed; pip install 'qfm-metric\[parquet\]'"):
        read_table(path)
