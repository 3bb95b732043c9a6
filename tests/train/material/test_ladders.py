"""Ladders: what is planned, that it is rendered the same however often it is stopped, and what is refused."""

import shutil
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import LADDER_TYPES, LADDERS, open_decoded

from qfm_metric.train import cli
from qfm_metric.train.datasets.table import DataError, Decoded, Row
from qfm_metric.train.distortions import compose
from qfm_metric.train.material import ladders
from qfm_metric.train.severity import read_severity

FILES = ("series.json", "frames.u8", "done.txt")


@pytest.fixture(scope="module")
def decoded(world):
    return open_decoded(world)


@pytest.fixture(scope="module")
def levels(world):
    return read_severity(world / "severity.csv")


@pytest.fixture(scope="module")
def planned(decoded, levels):
    return ladders.plan(decoded, levels, 40, seed=3)


@pytest.fixture
def folder(world, tmp_path):
    """Rendered ladders to spoil."""
    return shutil.copytree(world / "ladders", tmp_path / "ladders")


def test_every_type_has_as_many_series_and_an_eighth_more_are_of_two(planned):
    single, double = planned[:40], planned[40:]
    assert len(double) == 5
    assert all([len(step) for step in ladder.steps] == [1, 1, 1] for ladder in single)
    assert Counter(ladder.steps[0][0][:2] for ladder in single) == dict.fromkeys(LADDER_TYPES, 8)
    assert all([len(step) for step in ladder.steps] == [1, 1, 2] for ladder in double)
    assert all(ladder.steps[2] == [*ladder.steps[0], *ladder.steps[1]] for ladder in double)


def test_a_series_is_of_one_type_at_growing_levels_and_keeps_what_people_say(planned, levels):
    quality = {(level.data_set, level.type, level.level): level.quality for level in levels}
    for ladder in planned[:40]:
        (first,), (second,), (third,) = ladder.steps
        assert first[:2] == second[:2] == third[:2]
        assert 1 <= first[2] < second[2] < third[2] <= 5
        assert ladder.qualities == [quality[step] for step in (first, second, third)]
        assert ladder.qualities == sorted(ladder.qualities, reverse=True)
    for ladder in planned[40:]:
        a, b = quality[ladder.steps[0][0]], quality[ladder.steps[1][0]]
        assert ladder.qualities == [a, b, a * b]


def test_sources_are_good_training_pictures_and_frames_lie_inside(planned, decoded):
    sources = {ladder.source for ladder in planned}
    clean = [i for i in decoded.select("train") if decoded.mos[i] >= 0.65]
    assert sources == set(clean)
    assert all(0 <= ladder.top <= 128 for ladder in planned)
    assert len({ladder.top for ladder in planned}) > 10


def test_another_seed_plans_other_series(planned, decoded, levels):
    assert ladders.plan(decoded, levels, 40, seed=3) == planned
    assert ladders.plan(decoded, levels, 40, seed=4) != planned


def test_pictures_are_what_the_plan_says(world, decoded, levels):
    opened = ladders.Ladders.open(world / "ladders", decoded, levels)
    assert len(opened.series) == LADDERS + LADDERS // 8
    for number in (0, 4, LADDERS):
        ladder, (clean, *versions) = opened.series[number], opened.pictures(number, decoded)
        assert np.array_equal(clean, decoded.pixels[ladder.source, ladder.top : ladder.top + 384])
        for steps, version in zip(ladder.steps, versions, strict=True):
            assert np.array_equal(version, compose(np.array(clean), steps, seed=number))


def test_a_command_that_is_stopped_goes_on_to_the_very_same_files(world, tmp_path, monkeypatch, capsys):
    out = tmp_path / "ladders"
    words = ["ladders", "--data", world, "--severity", world / "severity.csv", "--out", out]
    words += ["--series", LADDERS, "--workers", 1]
    for more, done in ((["--count", 5], 5), ([], LADDERS + 2), ([], LADDERS + 2)):
        monkeypatch.setattr(sys, "argv", ["train", *map(str, [*words, *more])])
        assert cli.main() == 0
        assert len(ladders.read_done(out)) == done
    assert f"{LADDERS + 2}/{LADDERS + 2} series" in capsys.readouterr().err
    for name in FILES:
        assert (out / name).read_bytes() == (world / "ladders" / name).read_bytes()


def test_a_line_that_was_not_finished_is_not_done(folder):
    lines = (folder / "done.txt").read_text().split()
    (folder / "done.txt").write_text("\n".join(["0", "7", "12"]))
    assert ladders.read_done(folder) == {0, 7}
    assert len(lines) == LADDERS + 2


def test_a_folder_of_other_ladders_is_not_written_over(world, folder):
    before = [(folder / name).read_bytes() for name in FILES]
    for series, seed in ((LADDERS, 1), (LADDERS + 1, 0)):
        with pytest.raises(DataError, match="holds ladders of other pictures, means, series or seed"):
            ladders.render(world, world / "severity.csv", folder, series, seed, workers=1)
    assert [(folder / name).read_bytes() for name in FILES] == before


def test_what_is_not_rendered_is_refused(folder, decoded, levels, tmp_path):
    (folder / "done.txt").write_text("0\n7\n")
    message = r"ladders: 16 of 18 series are not rendered; call `python -m qfm_metric.train ladders` again"
    with pytest.raises(DataError, match=message):
        ladders.Ladders.open(folder, decoded, levels)
    with pytest.raises(DataError, match=r"none: no ladders; expected what `python -m qfm_metric.train ladders` writes"):
        ladders.Ladders.open(tmp_path / "none", decoded, levels)


def test_ladders_of_other_pictures_or_means_are_refused(folder, decoded, levels):
    rows = [Row(row.image, row.mos, split="val") for row in decoded.rows]
    with pytest.raises(DataError, match=r"ladders of other pictures; \d+ of them are none of the training part"):
        ladders.Ladders.open(folder, Decoded(rows, decoded.pixels), levels)
    others = [replace(level, quality=level.quality / 2) for level in levels]
    with pytest.raises(DataError, match="ladders of other human means; expected those that"):
        ladders.Ladders.open(folder, decoded, others)


def test_pictures_that_are_bad_or_small_are_refused(tmp_path, levels):
    rows = [Row(f"{i}.png", 0.7, split="train") for i in range(2)]
    small = Decoded(rows, np.zeros((2, 256, 256, 3), np.uint8))
    message = r"expected training pictures of 512 px with an MOS of 0\.65 or more, got 2 of 256 px"
    with pytest.raises(DataError, match=message):
        ladders.plan(small, levels, 4, 0)
    with pytest.raises(DataError, match="expected 1 series or more, got 0"):
        ladders.plan(small, levels, 0, 0)
    bad = Decoded([Row("a.png", 0.6, split="train")], np.zeros((1, 512, 512, 3), np.uint8))
    with pytest.raises(DataError, match="got 0 of 512 px"):
        ladders.plan(bad, levels, 4, 0)
