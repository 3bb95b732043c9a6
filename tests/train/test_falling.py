"""Series that get worse by steps: what is drawn, and what is seen of it."""

import numpy as np
import pytest
import torch
from helpers.photographs import photograph
from helpers.small_world import fresh_net, open_decoded

from qfm_metric import QFMScore
from qfm_metric.train import cli
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.defects import CLEAN
from qfm_metric.train.distorted import clean
from qfm_metric.train.falling import KINDS, REDUCED, SOUND, STEPS, draw, read_falling, store_falling, worse
from qfm_metric.train.severity_check import CLEAN_MOS

SOURCES = np.array([3, 5, 8])


def test_series_are_of_all_kinds_and_their_strengths_rise():
    drawn = [draw(number, 0, SOURCES) for number in range(200)]
    assert {series.kind for series in drawn} == set(KINDS)
    assert {series.source for series in drawn} == set(SOURCES.tolist())
    for series in drawn:
        assert len(series.strengths) == STEPS
        assert 0 <= series.strengths[0] < series.strengths[1] < series.strengths[2] <= 1
        assert REDUCED[0] <= series.share <= REDUCED[1]
    assert draw(7, 0, SOURCES) == drawn[7] != draw(7, 1, SOURCES)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_each_step_is_farther_from_the_clean_picture(kind):
    pixels = np.asarray(photograph("coffee.png"))
    series = next(drawn for drawn in (draw(number, 0, SOURCES) for number in range(50)) if drawn.kind == kind)
    clean, *versions = series.render(pixels)
    assert clean.shape[:2] == tuple(round(side * series.share) for side in pixels.shape[:2])
    errors = [np.square(clean.astype(float) - version).mean() for version in versions]
    assert 0 < errors[0] < errors[1] < errors[2]
    np.testing.assert_array_equal(series.render(pixels)[-1], versions[-1])
    hardly = np.square(clean.astype(float) - worse(clean, kind, 0.0, 0)).mean()
    ruined = np.square(clean.astype(float) - worse(clean, kind, 1.0, 0)).mean()
    assert hardly < 15
    assert ruined > 400


@pytest.fixture(scope="module")
def folder(world, weights, tmp_path_factory):
    found = tmp_path_factory.mktemp("falling")
    store_falling(str(weights), world, found, count=4, seed=5, workers=1)
    return found


def test_what_is_kept_is_what_inference_sees(world, weights, folder):
    net, decoded = QFMScore.from_pretrained(weights).net, open_decoded(world)
    found = read_falling(folder, net)
    train = decoded.select("train")
    series = draw(2, 5, train[decoded.mos[train] >= SOUND])
    pictures = series.render(np.asarray(decoded.pixels[series.source]))
    for seen, picture in zip(found.features[2], pictures, strict=True):
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            expected = net.statistics(net.cells(net.pyramid(net.distinct_views(image))), 1)[0]
        torch.testing.assert_close(seen.float(), expected, rtol=2e-3, atol=2e-3)  # half precision
    assert found.features.shape[:2] == (4, 1 + STEPS)
    assert found.mos[2] == decoded.mos[series.source]
    of_sound = found._replace(mos=torch.tensor([0.0, CLEAN_MOS, 0.0, 1.0])).sound()
    assert torch.equal(of_sound, found.features[[1, 3], 0])


def test_series_of_others_are_refused(world, weights, folder, tmp_path):
    other = fresh_net()
    with torch.no_grad():
        next(other.backbone.parameters()).add_(1)
    with pytest.raises(DataError, match="cells of another backbone or seed"):
        store_falling(str(weights), world, folder, count=1, seed=6, workers=1)
    with pytest.raises(DataError, match=r"expected what `python -m qfm_metric\.train falling`"):
        read_falling(tmp_path, fresh_net())
    with pytest.raises(DataError, match="cells of another backbone"):
        read_falling(folder, other)


def test_the_head_learns_that_clean_ones_have_no_defect(world, cells, weights, folder, tmp_path, monkeypatch, capsys):
    def pictures(*more):
        given = "--weights", weights, "--cells", cells, "--steps", 1, "--out", tmp_path / "naming.safetensors"
        monkeypatch.setattr("sys.argv", ["train", "defect-head", *map(str, given), *map(str, more)])
        assert cli.main() == 0
        return int(capsys.readouterr().err.split()[0])

    sound = len(read_falling(folder, fresh_net()).sound())
    assert pictures("--falling", folder) == pictures() + sound
    assert sound
    seen = clean(torch.zeros(2, 3))
    assert (seen.types == CLEAN).all()
    assert not seen.costs.any()
