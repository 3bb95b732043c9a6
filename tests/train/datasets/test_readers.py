"""Readers on tiny data sets in the official layouts: rows in closed form, and what is said when a part is missing."""

import json
import re
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
from helpers.layouts import BUILDERS, LINES, PARTS, text, workbook
from scipy.io import savemat

from qfm_metric.train import datasets
from qfm_metric.train.cli import main
from qfm_metric.train.datasets import DATA_SETS, prepare
from qfm_metric.train.datasets.labels import Scale
from qfm_metric.train.datasets.table import DataError, read_table, split_by_group


def read(name, root):
    return DATA_SETS[name].read(root / "table.csv" if name == "table" else root)


def test_every_data_set_is_tested():
    assert set(DATA_SETS) == set(BUILDERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_rows(tmp_path, name):
    expected = BUILDERS[name](tmp_path)
    rows = read(name, tmp_path)
    root = tmp_path.resolve()
    found = [(row.image.removeprefix(f"{root}/"), row.group, row.subset, row.split) for row in rows]
    assert found == [(image, group, subset, split) for image, _, group, subset, split in expected]
    assert [row.mos for row in rows] == pytest.approx([mos for _, mos, *_ in expected], abs=1e-12)


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, parts in PARTS.items() for part in parts])
def test_names_what_is_missing(tmp_path, name, part):
    BUILDERS[name](tmp_path)
    missing = tmp_path / part
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    said = missing.name.replace("labels=640", "labels<=640")  # the published name
    with pytest.raises(DataError, match=re.escape(said)):
        read(name, tmp_path)


def test_counts_the_pictures_that_are_missing(tmp_path):
    BUILDERS["kadid10k"](tmp_path)
    (tmp_path / "images" / "I01_25_05.png").unlink()
    (tmp_path / "images" / "I81_09_03.png").unlink()
    with pytest.raises(DataError, match=r"I01_25_05\.png: listed in dmos\.csv but not there; 2 of 3 listed"):
        read("kadid10k", tmp_path)


@pytest.mark.parametrize(("name", "file", "old", "new", "says"), LINES)
def test_names_the_line_that_is_off(tmp_path, name, file, old, new, says):
    BUILDERS[name](tmp_path)
    content = (tmp_path / file).read_text()
    assert old in content
    (tmp_path / file).write_text(content.replace(old, new))
    with pytest.raises(DataError, match=f"{re.escape(file)}.*{says}"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"table", "live", "live-realigned", "live-challenge"}))
def test_empty_labels(tmp_path, name):
    BUILDERS[name](tmp_path)
    for path in [*tmp_path.rglob("*.csv"), *tmp_path.rglob("*.txt")]:
        path.write_text(path.read_text().splitlines()[0] + "\n" if path.suffix == ".csv" else "")
    for path in tmp_path.rglob("*.xlsx"):
        columns = ["Image name", "MOS", "image", "dst_type", "dst_lev", "dmos"]
        workbook(path, {"all_by_image": [columns]})
    with pytest.raises(DataError, match="no pictures are listed"):
        read(name, tmp_path)


def test_workbooks_that_are_off(tmp_path):
    BUILDERS["csiq"](tmp_path)
    path = tmp_path / "csiq.DMOS.xlsx"
    header = ["image", "dst_type", "dst_lev", "dmos"]
    for sheets, says in [
        ({"all_by_image": [header, [1600, "noise", 1, "#REF!"]]}, "line 2: .*got '#REF!'"),
        ({"all_by_image": [header, [1600, "noise", 1]]}, "line 2: .*got None"),
        ({"all_by_image": [header, [1600, "awgn", 1, 0.5]]}, "line 2: expected dst_type to be one of noise, .*'awgn'"),
        ({"all_by_image": [header[:3]]}, "no line with the columns image, dst_type, dst_lev, dmos"),
        ({"by_image": [header]}, "no sheet 'all_by_image'; found"),
    ]:
        workbook(path, sheets)
        with pytest.raises(DataError, match=rf"csiq\.DMOS\.xlsx.*{says}"):
            read("csiq", tmp_path)
    path.write_bytes(b"not a workbook")
    with pytest.raises(DataError, match=r"csiq\.DMOS\.xlsx: not a readable \.xlsx workbook"):
        read("csiq", tmp_path)


def test_matlab_files_that_are_off(tmp_path):
    BUILDERS["live-challenge"](tmp_path)
    path = tmp_path / "Data" / "AllMOS_release.mat"
    savemat(path, {"AllMOS_release": np.array([[9.0] * 7 + [25, 101, 0]])})
    with pytest.raises(DataError, match=r"AllMOS_release\.mat, entry 9: .*\[0, 100\]"):
        read("live-challenge", tmp_path)
    savemat(path, {"AllMOS_release": np.zeros((1, 9))})
    with pytest.raises(DataError, match=r"AllImages_release\.mat has 10, .*AllMOS_release\.mat has 9"):
        read("live-challenge", tmp_path)
    savemat(path, {"mos": np.zeros((1, 10))})
    with pytest.raises(DataError, match=r"variable AllMOS_release is missing; found \['mos'\]"):
        read("live-challenge", tmp_path)
    path.write_bytes(b"not a MATLAB file")
    with pytest.raises(DataError, match=r"AllMOS_release\.mat: not a readable MATLAB file"):
        read("live-challenge", tmp_path)


def test_live_without_all_its_places(tmp_path):
    BUILDERS["live"](tmp_path)
    savemat(tmp_path / "dmos.mat", {"dmos": np.zeros((1, 779)), "orgs": np.zeros((1, 779))})
    with pytest.raises(DataError, match=r"dmos\.mat has 779.*expected 982"):
        read("live", tmp_path)


def test_names_the_extra(tmp_path, monkeypatch):
    BUILDERS["csiq"](tmp_path)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"qfm-metric\[train\]"):
        read("csiq", tmp_path)


def test_scales_turn_round_what_is_lower_for_better():
    """The best end of every set is 1; these and no others are published as differences from a reference."""
    scales = {name: data_set.scale for name, data_set in DATA_SETS.items()}
    assert {name for name, scale in scales.items() if not scale.higher_is_better} == {"csiq", "live", "live-realigned"}
    for scale in scales.values():
        best, worst = (scale.high, scale.low) if scale.higher_is_better else (scale.low, scale.high)
        assert (scale.mos(best, ""), scale.mos(worst, "")) == (1.0, 0.0)
    assert Scale(-1, 3, higher_is_better=False).mos("0", "") == 0.75


def test_koniq10k_without_the_split_file(tmp_path):
    expected = BUILDERS["koniq10k"](tmp_path)
    (tmp_path / "koniq10k_distributions_sets.csv").unlink()
    (tmp_path / "1024x768").rename(tmp_path / "512x384")
    lines = [f"{group},0,0,25,75,0,100,3.5,0.5,{100 * mos}" for _, mos, group, *_ in expected]
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore"
    text(tmp_path / "koniq10k_scores_and_distributions.csv", header, *lines)
    rows = read("koniq10k", tmp_path)
    assert [(row.mos, row.split) for row in rows] == [(0.75, ""), (1.0, ""), (0.0, "")]
    assert rows[0].image.endswith("512x384/10004473376.jpg")


def test_flive_without_the_split_files(tmp_path):
    BUILDERS["flive"](tmp_path)
    (tmp_path / "labels640.csv").unlink()
    (tmp_path / "labels=640_padded.csv").unlink()
    assert [row.split for row in read("flive", tmp_path)] == [""] * 4


def test_prepare_records_the_scale_and_leaves_the_test_part_undecoded(tmp_path, monkeypatch):
    BUILDERS["koniq10k"](tmp_path / "koniq")
    text(tmp_path / "groups.csv", "image,dup_group", "10004473376.jpg,twins", "10007903636.jpg,twins")
    out = tmp_path / "out"
    options = ["--out", str(out), "--groups", str(tmp_path / "groups.csv"), "--side", "8"]
    monkeypatch.setattr(sys, "argv", ["train", "prepare", "koniq10k", str(tmp_path / "koniq"), *options])
    assert main() == 0
    assert json.loads((out / "scale.json").read_text()) == {
        "data_set": "koniq10k",
        "low": 0,
        "high": 100,
        "higher_is_better": True,
    }
    rows = read_table(out / "all.csv")
    assert [(row.group, row.split) for row in rows] == [
        ("twins", "train"),
        ("10007357496.jpg", "test"),
        ("twins", "val"),
    ]
    assert [row.split for row in read_table(out / "decoded" / "table.csv")] == ["train", "val"]
    assert (out / "decoded" / "pixels.u8").stat().st_size == 2 * 8 * 8 * 3


def test_plain_table_without_groups_is_split_by_picture(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(60):
        (pictures / f"{i}.png").touch()
    lines = [f"pictures/{i}.png,0.5" for i in range(60)]
    (tmp_path / "my.csv").write_text("\n".join(["image,mos", *lines]) + "\n")
    rows = DATA_SETS["table"].read(tmp_path / "my.csv")
    assert [row.group for row in rows] == [f"pictures/{i}.png" for i in range(60)]
    parts = Counter(row.split for row in split_by_group(rows, 0.15, seed=0, test_share=0.2))
    assert parts["train"] > parts["test"] > 0 < parts["val"] < 30


def test_a_table_stays_beside_its_pictures_if_the_next_ones_are_not_decoded(tmp_path, monkeypatch):
    """Otherwise a part to test on, drawn anew, would hold pictures that are there to train on."""
    BUILDERS["table"](tmp_path)
    prepare("table", tmp_path / "table.csv", tmp_path / "out", side=1, workers=1)
    before = (tmp_path / "out/all.csv").read_text()
    monkeypatch.setattr(datasets, "decode", lambda *args: 1 / 0)  # as if it were interrupted there
    with pytest.raises(ZeroDivisionError):
        prepare("table", tmp_path / "table.csv", tmp_path / "out", seed=1, test_share=0.9, side=1, workers=1)
    assert (tmp_path / "out/all.csv").read_text() == before
