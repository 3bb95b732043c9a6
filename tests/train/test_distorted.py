"""Photographs that are distorted anew: what is drawn, what is kept of it, and what a head learns from it."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.small_world import fresh_net, open_decoded

from qfm_metric import QFMScore
from qfm_metric.defects import NAMES
from qfm_metric.train import cli, distorted
from qfm_metric.train.defect_head import with_head
from qfm_metric.train.defects import CLEAN, type_of
from qfm_metric.train.distorted import MINDED, NONE, ONE, Drawing, cut, draw, read_distorted, store_distorted
from qfm_metric.train.distortions import distort
from qfm_metric.train.invariances import grey
from qfm_metric.train.severity import read_severity

SOURCES = np.array([3, 5, 8])


@pytest.fixture(scope="module")
def levels(world):
    return read_severity(world / "severity.csv")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(distorted, "PIECE", 4)


@pytest.fixture(scope="module")
def drawn(world, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distorted, "PIECE", 4)
        store_distorted(str(weights), world, world / "severity.csv", folder, count=10, seed=3, workers=1)
    return folder


def test_most_pictures_have_two_distortions_of_unlike_names_that_people_mind(levels):
    drawings = [draw(number, 0, SOURCES, levels) for number in range(600)]
    counted = Counter(len(drawing.levels) for drawing in drawings)
    # Three deviations of a share of 600.
    assert [counted[0] / 600, counted[1] / 600] == pytest.approx([NONE, ONE], abs=0.06)
    for drawing in drawings:
        named = {drawing.name(level) for level in drawing.levels}
        assert len(named) == len(drawing.levels)
        assert len(drawing.levels) < 2 or all(1 - level.quality >= MINDED for level in drawing.levels)
        assert set(np.array(NAMES)[drawing.costs() > 0]) <= named  # a first level may cost nothing
    assert {drawing.source for drawing in drawings} == set(SOURCES.tolist())
    assert draw(7, 0, SOURCES, levels) == drawings[7]
    assert draw(7, 1, SOURCES, levels) != drawings[7]


def test_each_defect_costs_what_it_costs_alone(levels):
    two = next(found for found in (draw(n, 0, SOURCES, levels) for n in range(50)) if len(found.levels) == 2)
    costs = dict(zip(NAMES, two.costs(), strict=True))
    for level in two.levels:
        assert costs[two.name(level)] == pytest.approx(1 - level.quality)


def test_distortions_follow_each_other_on_a_part_of_the_photograph(levels):
    photograph = np.random.default_rng(0).integers(0, 256, (400, 420, 3), dtype=np.uint8)
    two = next(found for found in (draw(n, 0, SOURCES, levels) for n in range(50)) if len(found.levels) == 2)
    expected = cut(photograph, np.random.default_rng((two.seed, 1)))
    for level in two.levels:
        expected = distort(expected, level.data_set, level.type, level.level, seed=two.seed)
    np.testing.assert_array_equal(two.render(photograph), expected)


def test_what_is_made_grey_has_lost_no_colour(levels):
    photograph = np.random.default_rng(0).integers(0, 256, (400, 420, 3), dtype=np.uint8)
    of = {level.type: level for level in levels if level.data_set == "KADID-10k" and level.level == 3}
    drawing = Drawing(0, 5, (of[7], of[11]), grey=True)  # colour, noise
    found = drawing.render(photograph)
    assert (found == found[..., :1]).all()
    coloured = drawing._replace(grey=False)
    np.testing.assert_array_equal(found, grey(coloured.render(photograph)))
    costs = coloured.costs()
    costs[NAMES.index("colour")] = 0
    np.testing.assert_array_equal(drawing.costs(), costs)
    assert drawing.seen() == [of[11]]
    assert not Drawing(0, 5, (of[7],), grey=True).costs().any()


def test_parts_are_squares_of_the_photograph_or_all_of_it_and_small_ones_stay_whole():
    photograph, small = np.zeros((400, 420, 3), np.uint8), np.zeros((90, 120, 3), np.uint8)
    sides = {cut(photograph, np.random.default_rng(seed)).shape[:2] for seed in range(60)}
    assert (400, 420) in sides
    assert {height == width for height, width in sides} == {True, False}
    assert min(min(side) for side in sides) >= 0.6 * distorted.LEAST_SIDE - 1
    assert all(cut(small, np.random.default_rng(seed)).shape[0] >= 54 for seed in range(20))


def test_what_is_kept_is_what_inference_sees(world, weights, drawn, levels):
    net, decoded = fresh_net(), open_decoded(world)
    metric, seen = QFMScore.from_pretrained(weights), read_distorted([drawn], net)
    assert len(seen.types) == 12  # whole pieces
    train = decoded.select("train")
    sources = train[decoded.mos[train] >= distorted.CLEAN_MOS]
    told = with_head(net, 16)
    for number in (0, 5, 11):
        drawing = draw(number, 3, sources, levels)
        with torch.inference_mode():
            pixels = drawing.render(np.asarray(decoded.pixels[drawing.source]))
            expected = told.judge_views(metric.look(pixels)).defects[0]
            found = told.forward_defects(torch.empty(0), seen.features[number : number + 1].float())[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)  # half precision
        np.testing.assert_array_equal(seen.costs[number], drawing.costs())
        types = [type_of(level.data_set, level.type) for level in drawing.levels]
        assert seen.types[number] == {0: CLEAN, 2: -1}.get(len(types), types and types[0])


def test_a_type_is_left_out_alone_and_of_two(drawn, levels, world):
    net, decoded = fresh_net(), open_decoded(world)
    train = decoded.select("train")
    sources = train[decoded.mos[train] >= distorted.CLEAN_MOS]
    with_noise = sum(
        any((level.data_set, level.type) == ("KADID-10k", 11) for level in draw(number, 3, sources, levels).levels)
        for number in range(12)
    )
    assert with_noise
    assert len(read_distorted([drawn], net, ["KADID-10k/11"]).types) == 12 - with_noise


def test_pieces_that_are_there_are_kept_and_others_refused(world, weights, drawn, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in drawn.glob("*.npz")}
    given = str(weights), world, world / "severity.csv", drawn
    store_distorted(*given, count=13, seed=3, workers=1)
    assert len(list(drawn.glob("*.npz"))) == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}
    (drawn / "00003.npz").unlink()
    with pytest.raises(ValueError, match="cells of another backbone or seed"):
        store_distorted(*given, count=4, seed=4, workers=1)
    with pytest.raises(ValueError, match=r"expected what `python -m qfm_metric\.train distorted`"):
        read_distorted([tmp_path], fresh_net())
    lines = (world / "severity.csv").read_text().splitlines()
    one = tmp_path / "one.csv"
    one.write_text("\n".join([lines[0], *(line for line in lines if line.startswith("KADID-10k,11"))]) + "\n")
    with pytest.raises(ValueError, match="expected types of two names or more"):
        store_distorted(str(weights), world, one, tmp_path / "drawn", count=4, workers=1)


def test_the_head_learns_from_them_too(world, cells, weights, tmp_path, monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr("sys.argv", ["train", *map(str, args)])
        assert cli.main() == 0
        return capsys.readouterr().err

    drawn, given = tmp_path / "drawn", ("--weights", weights)
    kept = ("--severity", world / "severity.csv", "--data", world, "--out", drawn, "--count", 8, "--workers", 1)
    assert "8/8 pictures" in run("distorted", *given, *kept)
    fit = ("defect-head", *given, "--cells", cells, "--steps", 1, "--out", tmp_path / "naming.safetensors")
    fewer, more = (int(run(*fit, *also).split()[0]) for also in ((), ("--drawn", drawn)))
    assert more == fewer + 8
