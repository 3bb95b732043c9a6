"""A student by one call: what it returns, that it repeats, and what it asks for first."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import open_decoded, write_decoded

from qfm_metric import QFMScore
from qfm_metric.hub import load_weights
from qfm_metric.train.datasets.table import DataError, Decoded
from qfm_metric.train.material import to_tensor
from qfm_metric.train.recipe import read_recipe
from qfm_metric.train.student import train_student
from qfm_metric.weights import save_weights

STEPS = ["loop.steps=4", "loop.every=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_decoded(folder)
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


def test_means_without_ladders_are_refused_before_anything_is_built(data, tmp_path):
    with pytest.raises(DataError, match="human means and the ladders rendered from them, or neither"):
        train_student(read_recipe("quick"), data, tmp_path / "run", severity=tmp_path / "severity.csv")
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_says_so(data, tmp_path):
    said = []
    for _ in range(2):
        train_student(read_recipe("quick", STEPS), data, tmp_path, say=said.append)
    assert said[-1] == f"{tmp_path / 'checkpoint.pt'}: goes on from step 4 of 4"


def test_a_run_does_not_go_on_from_the_checkpoint_of_one_that_began_with_other_weights(data, tmp_path):
    recipe = read_recipe("quick", STEPS)
    first, other = (train_student(recipe, data, tmp_path / "first", name=name) for name in ("a", "b"))
    network = load_weights(first)
    save_weights(other, network.config, {name: tensor / 2 for name, tensor in network.tensors.items()}, torch.float16)
    out, said = tmp_path / "run", []
    for weights in (first, shutil.copy(first, tmp_path / "moved.safetensors")):
        train_student(recipe, data, out, weights=str(weights), say=said.append)
    assert said[-1].endswith("goes on from step 4 of 4")
    for weights in (str(other), None):
        with pytest.raises(DataError, match=r"checkpoint\.pt: a checkpoint of a run from other weights; name another"):
            train_student(recipe, data, out, weights=weights)


def test_without_validation_nothing_is_trained(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Decoded, "select", lambda decoded, split: np.arange(0 if split == "val" else 4))
    with pytest.raises(DataError, match="decoded pictures of the part 'val', got 0"):
        train_student(read_recipe("quick", STEPS), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
