"""`score_table`: pictures that a table lists or holds."""

import io
import os
import sys
from itertools import islice
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.pictures import grey
from PIL import Image

from qfm_metric import score_table


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def png(level):
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


def parquet(values, name="t.parquet"):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": values, "n": list(range(len(values)))}), name, row_group_size=2)
    return name


def rows(*arguments, **options):
    return [(row.path, row.score, row.error) for row in score_table(*arguments, Mean(), **options)]


EMPTY = "expected a path or the bytes of a picture, got nothing"


def test_a_column_of_bytes():
    name = parquet([png(51), None, b"", b"no picture", png(255)])
    found = rows(name, column="image")
    assert [path for path, _, _ in found] == [f"t.parquet[{i}]" for i in range(5)]
    assert [score for _, score, _ in found] == pytest.approx([0.2, None, None, None, 1.0])
    assert [error for _, _, error in found[:3]] == [None, f"'t.parquet[1]': {EMPTY}", f"'t.parquet[2]': {EMPTY}"]
    assert found[3][2].startswith("'t.parquet[3]': ")


@pytest.mark.parametrize("base", [None, "f"])
def test_a_column_of_paths(base):
    grey("f/a.png")
    names = ["a.png" if base else "f/a.png", None, "gone.png"]
    found = rows(parquet(names), column="image", base=base)
    assert found[0] == ("f/a.png", pytest.approx(0.2), None)
    assert found[1] == ("t.parquet[1]", None, f"'t.parquet[1]': {EMPTY}")
    assert "gone.png" in found[2][2]


def test_the_struct_of_hugging_face():
    grey("a.png")
    values = [
        {"bytes": png(102), "path": "name.png"},
        {"bytes": png(153), "path": None},
        {"bytes": None, "path": "a.png"},
        {"bytes": None, "path": None},
        None,
    ]
    found = rows(parquet(values), column="image")
    assert [row[:2] for row in found] == [
        ("name.png", pytest.approx(0.4)),
        ("t.parquet[1]", pytest.approx(0.6)),
        ("a.png", pytest.approx(0.2)),
        ("t.parquet[3]", None),
        ("t.parquet[4]", None),
    ]


def test_a_csv_file_of_paths():
    grey("größe, 1.png")
    Path("t.csv").write_bytes('\ufeffn,path\r\n1,"größe, 1.png"\r\n2,\r\n3\r\n'.encode())
    found = rows("t.csv")
    assert found[0] == ("größe, 1.png", pytest.approx(0.2), None)
    assert [error for _, _, error in found[1:]] == [f"'t.csv[1]': {EMPTY}", f"'t.csv[2]': {EMPTY}"]


def test_a_table_whose_name_is_no_text():
    if sys.platform == "darwin":
        pytest.skip("takes no such names")
    name = os.fsdecode(b"\xff.parquet")
    os.rename(parquet([png(51)]), name)
    assert rows(name, column="image") == [(f"{name}[0]", pytest.approx(0.2), None)]


def test_rows_come_while_the_table_is_read(monkeypatch):
    """A table of more pictures than memory holds."""
    monkeypatch.setattr("qfm_metric.folder.table.BATCH", 2)
    read = []
    pq = pytest.importorskip("pyarrow.parquet")
    batches = pq.ParquetFile.iter_batches

    def counted(*arguments, **options):
        for batch in batches(*arguments, **options):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    found = score_table(parquet([png(51)] * 10), Mean(), column="image")
    next(found)
    assert read == [2]
    assert len(list(score_table("t.parquet", Mean(), column="image"))) == 10


def test_options_are_those_of_score_files():
    name = parquet([png(51)])
    assert "lowest" in next(iter(score_table(name, Mean(), column="image", tile=64))).extra
    with pytest.raises(ValueError, match="tile: expected at least 64"):
        score_table(name, Mean(), column="image", tile=1)


@pytest.mark.parametrize(
    ("name", "column", "says"),
    [
        ("t.parquet", "path", "expected a column 'path', got image, n"),
        ("t.parquet", "n", "expected paths, bytes, or a struct of both in the column 'n', got int64"),
        ("t.csv", "image", "expected a column 'image', got path"),
        ("empty.csv", "path", "got an empty file"),
        ("t.xlsx", "path", r"expected a table \(.parquet, .csv\), got .xlsx"),
        ("broken.parquet", "path", "expected a Parquet file"),
    ],
)
def test_what_is_no_such_table_is_told_at_once(name, column, says):
    parquet([png(51)])
    Path("t.csv").write_text("path\n")
    Path("empty.csv").touch()
    Path("broken.parquet").write_text("no table at all")
    with pytest.raises(ValueError, match=says):
        score_table(name, Mean(), column=column)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_column_that_is_there_twice_is_refused(name):
    if name == "t.csv":
        Path(name).write_text("path,path\na.png,b.png\n")
    else:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.Table.from_arrays([pa.array(["a.png"]), pa.array(["b.png"])], ["path", "path"]), name)
    with pytest.raises(ValueError, match=rf"{name}: expected one column 'path', got 2"):
        rows(name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"path;mos\na.png;3\n", "got path;mos; part its columns by commas"),
        (b"path\tmos\na.png\t3\n", r"got path\\tmos; part its columns by commas"),
        ("path\na.png\n".encode("utf-16"), "expected text in UTF-8, got other bytes; save it as CSV UTF-8"),
        ("path\na.png\n".encode("utf-16-le"), "expected text in UTF-8"),
        (b"PK\3\4\xff\xfe workbook", "expected text in UTF-8"),
    ],
)
def test_what_stands_between_columns_or_is_no_text_is_told(data, message):
    Path("t.csv").write_bytes(data)
    with pytest.raises(ValueError, match=message) as raised:
        rows("t.csv")
    str(raised.value).encode()  # can be printed


def test_empty_lines_in_front_of_the_heading_are_passed_over():
    grey("a.png")
    Path("t.csv").write_text("\n\npath,n\n\na.png,3\n")
    assert rows("t.csv") == [("a.png", pytest.approx(0.2), None)]


def test_categories_of_pandas_and_polars_are_paths():
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    grey("a.png")
    pq.write_table(pa.table({"path": pa.array(["a.png", None]).dictionary_encode()}), "t.parquet")
    assert [score for _, score, _ in rows("t.parquet")] == [pytest.approx(0.2), None]


def test_a_parquet_file_that_is_damaged_inside_is_named_after_its_whole_rows():
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = [f"{i:04}.png" for i in range(1000)]
    pq.write_table(pa.table({"path": values}), "t.parquet", row_group_size=100, use_dictionary=False)
    data = bytearray(Path("t.parquet").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = b"\xff" * 60
    Path("t.parquet").write_bytes(data)
    found = score_table("t.parquet", Mean())
    assert len(list(islice(found, 100))) == 100
    with pytest.raises(OSError, match=r"expected a whole Parquet file: .*t\.parquet"):
        list(found)
