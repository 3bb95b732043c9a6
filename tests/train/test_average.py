"""The mean of weights is what lies between them, and of nothing that does not belong together."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.small_world import CONFIG, fresh_net

from qfm_metric.hub import load_weights
from qfm_metric.train.average import average
from qfm_metric.train.calibrate import write_weights
from qfm_metric.weights import WeightsError, save_weights


@pytest.fixture
def files(tmp_path):
    """Two networks, of which the second has all parameters one higher."""
    net = fresh_net()
    write_weights(net, tmp_path / "a.safetensors")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    write_weights(net, tmp_path / "b.safetensors")
    return [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]


def bias(path):
    return load_weights(str(path)).tensors["head.1.bias"].item()


def test_shares_say_how_near_the_mean_is_to_each(files, tmp_path):
    first = bias(files[0])
    for shares, above in ((None, 0.5), ([3, 1], 0.25), ([0.2, 0.8], 0.8)):
        average(files, tmp_path / "mean.safetensors", shares)
        assert bias(tmp_path / "mean.safetensors") == pytest.approx(first + above, abs=1e-3)  # half precision


def test_a_file_from_before_an_option_came_belongs_to_one_that_has_it(files, tmp_path):
    old = load_weights(files[0])
    config = {name: value for name, value in old.config.items() if name != "defect_width"}
    save_weights(tmp_path / "old.safetensors", config, old.tensors, torch.float16)
    average([str(tmp_path / "old.safetensors"), files[1]], tmp_path / "mean.safetensors")
    assert bias(tmp_path / "mean.safetensors") == pytest.approx(bias(files[0]) + 0.5, abs=1e-3)  # half precision


def test_what_does_not_belong_together_is_refused(files, tmp_path):
    other = tmp_path / "other.safetensors"
    write_weights(fresh_net(replace(CONFIG, dim=32)), other)
    with pytest.raises(WeightsError, match="expected the config and the tensors of"):
        average([files[0], str(other)], tmp_path / "mean.safetensors")
    for sources, shares in ((files[:1], None), (files, [1.0]), (files, [1.0, 0.0]), (files, [1.0, math.inf])):
        with pytest.raises(ValueError, match="two or more weights and a share above 0 for each"):
            average(sources, tmp_path / "mean.safetensors", shares)
    assert not (tmp_path / "mean.safetensors").exists()
