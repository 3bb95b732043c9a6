"""The table by which weights are chosen: figures in closed form from scores that only see brightness."""

import csv
import json
from functools import partial

import pytest
from helpers.brightness import Brightness
from helpers.small_world import open_decoded, write_decoded
from PIL import Image

from qfm_metric.train import cli, travel
from qfm_metric.train.datasets.table import DataError, Row, part_as, write_table
from qfm_metric.train.travel import CHOSEN_BY, Table, measure_home, measure_large


@pytest.fixture
def data(tmp_path):
    write_decoded(tmp_path)
    return tmp_path


@pytest.fixture
def large(tmp_path):
    """Two sources of five heights; the higher the picture was, the brighter and the better."""
    folder = tmp_path / "large"
    (folder / "images").mkdir(parents=True)
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mos", "std", "source", "height"])
        for source in "ab":
            for i, height in enumerate((16, 24, 32, 40, 48)):
                Image.new("RGB", (height * 2, height), (40 * i + 20,) * 3).save(folder / "images" / f"{source}{i}.png")
                writer.writerow([f"{source}{i}.png", i + (source == "b") / 4, 0.5, source, height])
    return folder


def test_brightness_agrees_at_home_where_bright_is_good(data):
    table = Table("brightness")
    measure_home(table, Brightness(), open_decoded(data), workers=0)
    assert table.figures["biq2021 validation: srcc"] == pytest.approx(1)
    assert table.figures["biq2021 validation: within"] == pytest.approx(1)


def test_large_pictures_are_enlarged_and_figures_are_by_source(large, monkeypatch):
    sizes = []
    look = Brightness.look
    monkeypatch.setattr(Brightness, "look", lambda self, pixels: (sizes.append(pixels.shape), look(self, pixels))[1])
    table = Table("brightness")
    measure_large(table, Brightness(), large, workers=0, rows=96)
    assert set(sizes) == {(96, 192, 3)}
    assert table.figures["large: srcc"] == pytest.approx(0.985, abs=0.01)  # ties within a height
    assert table.figures["large: low"] <= table.figures["large: srcc"] <= table.figures["large: high"]
    assert table.figures["large: at equal height"] == 0  # the score knows the height and nothing else


def test_weights_below_the_gate_of_large_pictures_are_refused(large, monkeypatch):
    bright = Brightness()
    monkeypatch.setattr(travel.QFMScore, "from_pretrained", lambda source: bright)
    monkeypatch.setattr(travel, "measure_large", partial(measure_large, rows=96))
    assert travel.gate_large(large, None, 0.9, workers=0) == pytest.approx(0.985, abs=0.01)
    with pytest.raises(ValueError, match=r"below the gate: large 0\.98\d+ < 0\.99"):
        travel.gate_large(large, None, 0.99, workers=0)


def test_weights_are_chosen_by_stated_columns_alone():
    table = Table("x", dict.fromkeys(CHOSEN_BY, 0.5) | {"other": 100.0})
    assert table.choice == 0.5
    del table.figures[CHOSEN_BY[2]]
    with pytest.raises(DataError, match=f"{CHOSEN_BY[2]} was not measured"):
        _ = table.choice


def test_the_table_says_what_is_wanted_and_missed():
    text = Table("x", {"static: highest score": 0.5, "flip: mean change": 0.01}).markdown()
    assert "| static: highest score | 0.5000 | at most 0.3 (missed) |" in text
    assert "| flip: mean change | 0.0100 | at most 0.03 |" in text


def test_parts_of_a_file_decide_and_every_picture_needs_one(tmp_path):
    (tmp_path / "parts.csv").write_text("image,part\na.jpg,test\nb.jpg,train\n")
    rows = [Row("/x/A.jpg", 0.5), Row("/x/b.jpg", 0.5)]
    assert [row.split for row in part_as(rows, tmp_path / "parts.csv")] == ["test", "train"]
    with pytest.raises(DataError, match=r"1 pictures have no part, /x/c\.jpg among them"):
        part_as([*rows, Row("/x/c.jpg", 0.5)], tmp_path / "parts.csv")
    (tmp_path / "parts.csv").write_text("image,part\na.jpg,all\n")
    with pytest.raises(DataError, match="expected train, val or test, got 'all'"):
        part_as(rows, tmp_path / "parts.csv")


def test_the_command_measures_what_it_is_given_and_leaves_the_test_part_alone(
    data, large, tiny_files, monkeypatch, capsys
):
    images = []
    for name, part in (("seen.png", "train"), ("unseen.png", "test"), ("more.png", "val"), ("third.png", "train")):
        Image.new("RGB", (64, 64), (len(images) * 60,) * 3).save(data / name)
        images.append(Row(str(data / name), len(images) / 4, split=part))
    write_table(images, data / "generated.csv")
    (data / "unseen.png").unlink()  # whoever looks at it fails
    sharp = data / "sharp"
    sharp.mkdir()
    Image.effect_noise((128, 96), 60).convert("RGB").save(sharp / "a.png")
    options = [
        "--large",
        large,
        "--large-rows",
        96,
        "--generated",
        data / "generated.csv",
        "--sharp",
        sharp,
        "--pictures",
        1,
    ]
    options += ["--workers", 0, "--out", data / "out"]
    monkeypatch.setattr("sys.argv", ["train", "travel", str(tiny_files[0]), "--data", str(data), *map(str, options)])
    assert cli.main() == 0, capsys.readouterr().err
    found = json.loads((data / "out" / "travel.json").read_text())
    assert found["generated: n"] == 3
    assert "large, defocus: share falling" in found
    assert "KADID-10k: srcc" not in found  # no table of severities was given
    assert (data / "out" / "travel.png").stat().st_size > 1000
    assert "flip: mean change" in capsys.readouterr().out
