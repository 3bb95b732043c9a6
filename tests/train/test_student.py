"""A student by one call: what it returns, that it repeats, and what it asks for first."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import open_decoded, write_decoded

from qfm_metric import QFMScore
from qfm_metric.train.material import to_tensor
from qfm_metric.train.recipe import assemble, read_recipe
from qfm_metric.train.student import train_student

STEPS = ["loop.steps=4", "loop.every=2", "objective.batch=4", "objective.series=0", "network.uncertainty=true"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_decoded(folder)
    assemble(read_recipe("quick"), folder, workers=1)
    return folder


def test_a_student_is_trained_by_one_call(data, tmp_path):
    said = []
    path = train_student(read_recipe("quick", STEPS), data, tmp_path / "runs" / "a", name="mine", say=said.append)
    assert path == tmp_path / "runs" / "a" / "mine.safetensors"
    assert said[-1].startswith("step 4: validation")
    metric, decoded = QFMScore.from_pretrained(path), open_decoded(data)
    val = decoded.select("val")
    found = [metric.assess(to_tensor(decoded.pixels[i])) for i in val]
    # The calibration was fitted to these pictures: a constant would be no better.
    error = np.mean((np.array([x.score.item() for x in found]) - decoded.mos[val]) ** 2)
    assert error < decoded.mos[val].var() + 1e-3  # stored in half precision
    assert all(x.std > 0 for x in found)
    again = train_student(read_recipe("quick", STEPS), data, tmp_path / "runs" / "b")
    assert again.read_bytes() == path.read_bytes()


def test_a_student_goes_on_from_weights(data, tmp_path):
    recipe = read_recipe("quick", STEPS)
    first = train_student(recipe, data, tmp_path / "first")
    still = replace(recipe, loop=replace(recipe.loop, steps=1, head_rate=0.0, backbone_rate=0.0))
    second = train_student(still, data, tmp_path / "second", weights=str(first))
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    before, after = (QFMScore.from_pretrained(path)(images) for path in (first, second))
    # The same network, calibrated a second time; both stored in half precision.
    torch.testing.assert_close(after, before, rtol=0, atol=0.01)


def test_a_student_whose_views_are_not_cached_says_how_to_cache_them(data, tmp_path):
    with pytest.raises(ValueError, match=r"nothing cached there; run `python -m qfm_metric\.train cache`"):
        train_student(read_recipe("quick", ["training.frozen=2"]), data, tmp_path)
