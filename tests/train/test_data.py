"""Tables, the reader of BIQ2021's layout, splits by group, the decoded cache."""

import numpy as np
import pytest
from PIL import Image

from qfm_metric.train.data import (
    DataError,
    Decoded,
    Row,
    decode,
    read_biq2021,
    read_table,
    split_by_group,
    write_table,
)


@pytest.fixture
def biq2021(tmp_path):
    """Four pictures in the official layout, with its quirks: trailing columns, a name that differs in case on disk."""
    (tmp_path / "Images").mkdir()
    for i, name in enumerate(["ss01 (1).jpg", "ss02 (2).JPG", "ss03 (3).jpg", "ss03 (4).jpg"]):
        Image.new("RGB", (20, 20), (50 * i, 0, 0)).save(tmp_path / "Images" / name)
    train = "Image Name,MOS,,\nss01 (1).jpg,0.25,,\nss02 (2).jpg,0.5,,\nss03 (3).jpg,0.75,,\n"
    (tmp_path / "Train (Images and MOS).csv").write_text(train)
    (tmp_path / "Test (Images and MOS).csv").write_text("Image Name,MOS\nss03 (4).jpg,1\n")
    return tmp_path


def test_biq2021(biq2021):
    groups = biq2021 / "groups.csv"
    groups.write_text("image,mos,split,subset,dup_group\nss03 (3).jpg,0,train,ss03,7\nss03 (4).jpg,0,test,ss03,7\n")
    rows = read_biq2021(biq2021, groups)
    assert [row.mos for row in rows] == [0.25, 0.5, 0.75, 1.0]
    assert [row.subset for row in rows] == ["ss01", "ss02", "ss03", "ss03"]
    assert [row.split for row in rows] == ["train"] * 3 + ["test"]
    assert [row.group for row in rows] == ["ss01 (1).jpg", "ss02 (2).jpg", "7", "7"]
    assert rows[1].image.endswith("ss02 (2).JPG")


@pytest.mark.parametrize(
    "missing", ["Images", "Train (Images and MOS).csv", "Test (Images and MOS).csv", "Images/ss01 (1).jpg"]
)
def test_biq2021_names_what_is_missing(biq2021, missing):
    (biq2021 / missing).rename(biq2021 / "elsewhere")
    with pytest.raises(DataError, match=missing.split("/")[-1].replace("(", r"\(").replace(")", r"\)")):
        read_biq2021(biq2021)


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
        ("image,mos\n", "no rows"),
    ],
)
def test_bad_tables(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="no such table"):
        read_table(tmp_path / "other.csv")


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
