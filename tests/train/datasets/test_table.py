"""Tables, groups, splits by group, the decoded cache."""

import math

import numpy as np
import pytest
from PIL import Image

from qfm_metric.train.datasets import table
from qfm_metric.train.datasets.table import (
    DataError,
    Decoded,
    Row,
    decode,
    read_table,
    regroup,
    split_by_group,
    write_table,
)


def test_table_round_trip(tmp_path):
    rows = [Row(str(tmp_path / "ä, b.jpg"), 0.125, "g1", "s", "train"), Row(str(tmp_path / "c.jpg"), 1.0)]
    write_table(rows, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv") == rows


def test_table_paths_are_relative_to_the_table(tmp_path):
    (tmp_path / "t.csv").write_text("image,mos\nsub/a.jpg,0.5\n")
    assert read_table(tmp_path / "t.csv") == [Row(str(tmp_path / "sub/a.jpg"), 0.5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,score\na.jpg,1\n", "column mos is missing"),
        ("image,mos\na.jpg,good\n", r"line 2: expected an MOS in \[0, 1\], got 'good'"),
        ("image,mos\na.jpg,0.5\nb.jpg,55\n", "line 3.*rescale"),
        ("image,mos\na.jpg,nan\n", "line 2"),
        ("image,mos\na.jpg\n", "line 2: the line ends before mos"),
        ("image,mos\n", "no rows"),
        ("image,mos,mos\na.jpg,0.5,0.6\n", "column mos is there more than once"),
        ("image, mos\na.jpg,0.5\n", "column ' mos': expected the name 'mos'"),
        ("image,mos, group\na.jpg,0.5,a\n", "column ' group': expected the name 'group'"),
        ("image,mos,Split\na.jpg,0.5,val\n", "column 'Split': expected the name 'split'"),
        ("image,mos,group,group\na.jpg,0.5,a,b\n", "column group is there more than once"),
        ("", "column image, mos is missing; found no heading"),
        ("image,mos,split\na.jpg,0.5,val\nb.jpg,0.5,Train\n", "line 3, column split: expected train, .* got 'Train'"),
    ],
)
def test_bad_tables(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="no such file; expected a CSV file with the columns image,mos"):
        read_table(tmp_path / "other.csv")


def test_rows_that_a_spreadsheet_emptied_are_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("image,mos,group\na.jpg,0.5,a\n,,\n\nb.jpg,0.6,b\n,,\n")
    assert [row.mos for row in read_table(tmp_path / "t.csv")] == [0.5, 0.6]


def test_split_keeps_groups_together():
    rows = [Row(f"{i}.jpg", 0.5, group=str(i // 3), split="train") for i in range(900)]
    rows += [Row(f"t{i}.jpg", 0.5, group=str(i), split="test") for i in range(50)]
    split = split_by_group(rows, 0.2, seed=0)
    of_group = {}
    for row in split:
        if not row.image.startswith("t"):
            of_group.setdefault(row.group, set()).add(row.split)
    assert all(len(splits) == 1 for splits in of_group.values())
    assert sum(row.split == "val" for row in split) == pytest.approx(0.2 * 900, rel=0.3)
    assert all(of_group[str(i)] == {"train"} for i in range(50))  # groups that reach into the test part
    assert [row.split for row in split[900:]] == ["test"] * 50
    assert split_by_group(rows, 0.2, seed=0) == split
    assert split_by_group(rows, 0.2, seed=1) != split
    assert split_by_group(rows[300:], 0.2, seed=0) == split[300:]


def test_split_of_a_set_without_parts():
    rows = [Row(f"{i}.jpg", 0.5, group=str(i // 3)) for i in range(900)]
    split = split_by_group(rows, 0.2, seed=0, test_share=0.3)
    share = {part: sum(row.split == part for row in split) / 900 for part in ("train", "val", "test")}
    assert share == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, rel=0.3)
    assert len({(row.group, row.split) for row in split}) == 300
    without_test = split_by_group(rows, 0.2, seed=0)
    assert [row.split == "val" for row in without_test] == [row.split == "val" for row in split]
    assert {row.split for row in without_test} == {"train", "val"}


def test_split_keeps_official_parts():
    parts = ["train"] * 80 + ["val"] * 10 + ["test"] * 10
    rows = [Row(f"{i}.jpg", 0.5, group=str(i), split=part) for i, part in enumerate(parts)]
    assert split_by_group(rows, 0.5, seed=0, test_share=0.4) == rows
    no_val = split_by_group(rows[:80], 0.5, seed=0, test_share=0.4)
    assert {row.split for row in no_val} == {"train", "val"}


@pytest.mark.parametrize(
    ("val_share", "test_share"), [(0.6, 0.4), (1.0, 0.0), (-0.1, 0.2), (0.1, -0.2), (math.nan, 0.2), (0.1, math.nan)]
)
def test_shares_leave_something_to_train_on(val_share, test_share):
    with pytest.raises(DataError, match="shares"):
        split_by_group([Row("a.jpg", 0.5)], val_share, seed=0, test_share=test_share)


def test_regroup(tmp_path):
    (tmp_path / "groups.csv").write_text("image,mos,dup_group\na (1).jpg,0,7\nb.jpg,0,7\nelsewhere.jpg,0,8\n")
    rows = [Row("/data/a (1).JPG", 0.5, "a"), Row("/data/b.jpg", 0.5, "b"), Row("/data/c.jpg", 0.5, "c")]
    assert [row.group for row in regroup(rows, tmp_path / "groups.csv")] == ["7", "7", "c"]
    with pytest.raises(DataError, match=r"other\.csv: no such file"):
        regroup(rows, tmp_path / "other.csv")
    (tmp_path / "groups.csv").write_text("image,group\nb.jpg,7\n")
    with pytest.raises(DataError, match=r"groups\.csv: column dup_group is missing"):
        regroup(rows, tmp_path / "groups.csv")


def test_decode(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.new("RGB", (64, 64), (10, 20, 30)).save(tmp_path / "large.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    names = ["wide.png", "broken.png", "large.png", "small.png"]
    rows = [Row(str(tmp_path / name), 0.5, split="val" if name == "large.png" else "train") for name in names]
    failures = decode(rows, tmp_path / "out", side=32, workers=1)
    assert len(failures) == 2
    assert "broken.png" in failures[0]
    assert "small.png" in failures[1]
    decoded = Decoded.open(tmp_path / "out")
    assert [row.image for row in decoded.rows] == [rows[0].image, rows[2].image]
    assert np.array_equal(decoded.pixels[0], pixels[:, 8:40])
    assert (decoded.pixels[1] == [10, 20, 30]).all()
    assert decoded.select("val").tolist() == [1]
    assert decoded.mos.tolist() == [0.5, 0.5]


@pytest.fixture
def decoded(tmp_path):
    """A folder with one decoded picture, and a row of another one."""
    for name, level in (("a.png", 10), ("b.png", 200)):
        Image.new("L", (8, 8), level).save(tmp_path / name)
    decode([Row(str(tmp_path / "a.png"), 0.5)], tmp_path / "out", side=8, workers=1)
    return tmp_path / "out", Row(str(tmp_path / "b.png"), 0.7)


@pytest.mark.parametrize(
    ("side", "says"), [(9, "not one of 1 pictures can be used: .*smaller than 9 x 9"), (0, "a side")]
)
def test_what_is_decoded_stays_if_nothing_takes_its_place(decoded, side, says):
    folder, other = decoded
    with pytest.raises(DataError, match=says):
        decode([other], folder, side=side, workers=1)
    kept = Decoded.open(folder)
    assert (kept.mos.tolist(), int(kept.pixels.max())) == ([0.5], 10)


def test_pixels_have_no_names_of_an_earlier_run(decoded, monkeypatch):
    folder, other = decoded
    monkeypatch.setattr(table, "write_table", lambda rows, path: 1 / 0)  # as if it were killed there
    with pytest.raises(ZeroDivisionError):
        decode([other], folder, side=8, workers=1)
    with pytest.raises(DataError, match=r"table\.csv: no such file"):
        Decoded.open(folder)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("shape.json", b"[1, 8,"),
        ("shape.json", b"{}"),
        ("shape.json", b"[1, 8, 9, 3]"),
        ("pixels.u8", b""),
        ("pixels.u8", bytes(100)),
        ("pixels.u8", bytes(2 * 192)),
    ],
)
def test_files_that_do_not_belong_together_are_refused(decoded, name, data):
    (decoded[0] / name).write_bytes(data)
    with pytest.raises(DataError, match=r"out: table\.csv, shape\.json and pixels\.u8 do not belong together"):
        Decoded.open(decoded[0])


def test_a_part_with_next_to_no_pictures_is_refused(decoded):
    with pytest.raises(DataError, match="3 or more decoded pictures of the part 'val', got 0"):
        Decoded.open(decoded[0]).need("val")


def test_chosen_pictures_are_parts_of_the_map(tmp_path):
    """Ten thousand decoded pictures are 8 GB, which nobody has to hold."""
    rows = [Row(str(i), 0.5) for i in range(3)]
    np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(3, 4, 4, 3))[:] = np.arange(3).reshape(3, 1, 1, 1)
    decoded = Decoded(rows, np.memmap(tmp_path / "pixels", np.uint8, "r", shape=(3, 4, 4, 3)))
    found = decoded.pictures(np.array([2, 0]))
    assert [picture[0, 0, 0] for picture in found] == [2, 0]
    assert all(np.shares_memory(picture, decoded.pixels) for picture in found)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("image,mos\nä.png,0.5\n".encode("latin-1"), "expected text in UTF-8"),
        ("image,mos\na.png,0.5\n".encode("utf-16"), "expected text in UTF-8"),
        (b'image,mos\n"a.png,0.5\n' + b"b.png,0.5\n" * 20_000, "look for a quote without its end"),
    ],
)
def test_what_is_no_csv_in_utf_8_is_named(data, says, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"table.csv: (expected a CSV file .*)?{says}"):
        read_table(path)
