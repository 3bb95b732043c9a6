"""Agreement by type and level in closed form and against SciPy; pictures, tables and the command on a tiny cache."""

import csv
import json
import sys

import numpy as np
import pytest
from helpers.brightness import Brightness
from PIL import Image
from scipy.stats import spearmanr

from qfm_metric import QFMScore
from qfm_metric.train import cli
from qfm_metric.train.datasets.table import DataError, Decoded, Row, decode
from qfm_metric.train.severity import DistortionLevel
from qfm_metric.train.severity_check import (
    clean_pictures,
    heat_map,
    level_agreement,
    markdown,
    score_levels,
)

KADID, TID = "KADID-10k", "TID2013"
FALLING = [4.5, 4.2, 3.4, 2.5, 1.5]  # 4.5 and 4.2 are too near to count: 9 pairs


def of_type(human, data_set=KADID, type=1, name="GBLUR"):
    return [DistortionLevel(data_set, type, name, level, mean, mean / 5) for level, mean in enumerate(human, start=1)]


@pytest.fixture
def levels():
    return of_type(FALLING) + of_type(FALLING[::-1], type=2, name="High_Noise") + of_type([8, 7, 6, 5, 4], TID, 3)


@pytest.fixture
def human(levels):
    return np.array([level.mean for level in levels])


def test_people_agree_with_themselves(levels, human):
    for scores in (human, human**3):
        figures = level_agreement(scores, levels, KADID)
        assert figures["srcc"] == pytest.approx(1)
        assert (figures["n"], figures["pairs"], figures["right"], figures["pairs_right"]) == (10, 18, 18, 1)
        assert [(entry["type"], entry["name"]) for entry in figures["types"]] == [(1, "GBLUR"), (2, "High_Noise")]
        assert level_agreement(scores, levels, TID)["pairs"] == 10


def test_the_reverse_of_people_has_no_pair_right(levels, human):
    figures = level_agreement(-human, levels, KADID)
    assert figures["srcc"] == pytest.approx(-1)
    assert figures["pairs_right"] == 0
    assert [entry["srcc"] for entry in figures["types"]] == pytest.approx([-1, -1])


def test_ties_are_wrong_and_scipy_agrees(levels, human):
    scores = human.copy()
    scores[:5] = [0.9, 0.9, 0.9, 0.2, 0.3]  # of 9 pairs: (1, 3) and (2, 3) tie, (4, 5) is reversed
    figures = level_agreement(scores, levels, KADID)
    assert (figures["types"][0]["right"], figures["types"][0]["pairs"]) == (6, 9)
    assert figures["pairs_right"] == pytest.approx(15 / 18)
    assert figures["srcc"] == pytest.approx(spearmanr(scores[:10], human[:10])[0])
    assert figures["types"][0]["srcc"] == pytest.approx(spearmanr(scores[:5], FALLING)[0])


def test_a_tenth_of_the_scale_is_not_more_than_a_tenth():
    assert level_agreement([1, 0], of_type([4.4, 4.0]), KADID)["pairs"] == 0  # 4.4 - 4.0 > 0.4 in floats
    assert level_agreement([1, 0], of_type([4.5, 4.0]), KADID)["pairs"] == 1
    assert level_agreement([1, 0], of_type([4.9, 4.0], TID), TID)["pairs"] == 0
    assert level_agreement([1, 0], of_type([4.95, 4.0], TID), TID)["pairs"] == 1


def test_constants_correlate_with_nothing(levels, human):
    figures = level_agreement(np.full_like(human, 0.5), levels, KADID)
    assert figures["srcc"] == figures["pairs_right"] == figures["types"][0]["srcc"] == 0
    flat = level_agreement([1, 2, 3], of_type([3, 3, 3]), KADID)
    assert (flat["srcc"], flat["pairs"], flat["pairs_right"]) == (0, 0, None)


def test_agreement_refuses_what_it_cannot_compare(levels):
    with pytest.raises(ValueError, match=r"expected \(15,\) means"):
        level_agreement([1.0], levels, KADID)
    with pytest.raises(ValueError, match="no level is of 'LIVE'"):
        level_agreement(np.zeros(15), levels, "LIVE")


def test_levels_are_rendered_on_every_picture():
    levels = [DistortionLevel(KADID, 16, "Brighten", 5, 2.0, 0.3), DistortionLevel(KADID, 17, "Darken", 5, 2.0, 0.3)]
    pictures = [np.full((48, 64, 3), grey, np.uint8) for grey in (100, 120, 140)]
    done = []
    scores = score_levels(Brightness(), pictures, levels, progress=done.append)
    assert scores.shape == (2, 3)
    assert done == [1, 2, 3, 4, 5, 6]
    clean = np.array([100, 120, 140]) / 255
    assert (scores[0] > clean).all()
    assert (scores[1] < clean).all()
    assert np.array_equal(score_levels(Brightness(), pictures, levels, workers=2), scores)


def test_a_metric_can_be_sent_to_workers(tiny_files):
    metric = QFMScore.from_pretrained(tiny_files[0])
    pictures = [np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)]
    levels = of_type([4.0], type=1)
    here, there = (score_levels(metric, pictures, levels, workers) for workers in (0, 1))
    assert here == pytest.approx(there, abs=1e-6)  # threads differ
    assert 0 <= here[0, 0] <= 1


def test_table_names_types_and_figures(levels, human):
    lines = markdown(human / 10, levels).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3] == (
        "| KADID-10k | 2 | High Noise | 1.50 2.50 3.40 4.20 4.50 | 0.15 0.25 0.34 0.42 0.45 | 1.00 | 9/9 |"
    )


def test_heat_map_is_a_picture_of_sensible_size(tmp_path, levels, human):
    heat_map(human[1:], levels[1:], tmp_path / "map.png")  # a level is missing
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.format == "PNG"
        assert 600 < picture.width < 2000
        assert 200 < picture.height < 4000


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for number, (mos, split) in enumerate([(0.9, "val"), (0.8, "val"), (0.5, "val"), (0.9, "train")]):
        pixels = np.kron(rng.integers(0, 256, (16, 16, 3), np.uint8), np.ones((32, 32, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(Row(str(folder / f"{number}.png"), mos, split=split))
    assert not decode(rows, folder / "decoded", workers=1)
    return folder


def test_clean_pictures_are_the_centres_of_good_held_out_ones(data_folder):
    decoded = Decoded.open(data_folder / "decoded")
    pictures = clean_pictures(decoded, "val", 0.75, 2, seed=0)
    assert sorted(picture.tobytes() for picture in pictures) == sorted(
        decoded.pixels[i, 64:448].tobytes() for i in (0, 1)
    )
    assert pictures[0].shape == (384, 512, 3)
    assert np.array_equal(clean_pictures(decoded, "val", 0.75, 2, seed=0), pictures)
    with pytest.raises(DataError, match=r"2 val pictures have an MOS of at least 0.75, 3 are wanted"):
        clean_pictures(decoded, "val", 0.75, 3, seed=0)
    with pytest.raises(DataError, match="at least 512 px, got 256 px"):
        clean_pictures(Decoded(decoded.rows, decoded.pixels[:, :256, :256]), "val", 0.75, 1, seed=0)


def test_severity_command(tmp_path, data_folder, tiny_files, monkeypatch, capsys):
    severity = tmp_path / "severity.csv"
    lines = [f"{KADID},1,GBLUR,{level},{mean},DMOS 1..5\n" for level, mean in ((1, 4.6), (5, 1.2))]
    lines.append(f"{TID},17,Contrast_Dist.,1,5.5,MOS 0..9\n")
    severity.write_text("data_set,type,name,level,mean_score,scale\n" + "".join(lines))
    options = ["--weights", tiny_files[0], "--data", data_folder, "--pictures", 2, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["train", "severity", *map(str, [severity, *options])])
    assert cli.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pictures"] == 2
    assert (result[KADID]["n"], result[KADID]["pairs"], result[TID]["n"]) == (2, 1, 1)
    with (tmp_path / "out" / "levels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["type"], row["level"]) for row in rows] == [("1", "1"), ("1", "5"), ("17", "1")]
    assert all(0 < float(row["score"]) < 1 for row in rows)
    assert "Contrast Dist." in (tmp_path / "out" / "severity.md").read_text()
    assert (tmp_path / "out" / "severity.png").stat().st_size > 1000
