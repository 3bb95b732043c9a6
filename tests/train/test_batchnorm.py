"""What is trained with BatchNorm is released without: the same scores, and it can be trained on."""

from dataclasses import replace

import pytest
import torch
from helpers import small_world
from helpers.small_world import CONFIG, LOOP, fresh_net
from safetensors.torch import save_file

from qfm_metric import QFMScore
from qfm_metric.export import half_noise
from qfm_metric.hub import load_weights
from qfm_metric.train import release
from qfm_metric.train.batchnorm import TIMM_NAMES, fold
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.start import build, start_from
from qfm_metric.weights import local_file, read_manifest

FOLDED = replace(CONFIG, backbone="efficientnet_lite0")
UNFOLDED_WEIGHTS = [
    name
    for name, entry in read_manifest()["weights"].items()
    if (file := local_file(entry)) and load_weights(file).config["backbone"] in TIMM_NAMES
]


@pytest.mark.parametrize("name", UNFOLDED_WEIGHTS)
def test_folded_weights_give_the_maps_and_the_score_of_released_ones(name):
    net = QFMScore.from_pretrained(name).net
    folded = fold(net)
    assert folded.config == replace(net.config, backbone=TIMM_NAMES[net.config.backbone])
    views = net.preprocess(half_noise(1, 300, 400, torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        for found, expected in zip(folded.pyramid(views), net.pyramid(views), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
        torch.testing.assert_close(folded.score_views(views), net.score_views(views), rtol=0, atol=1e-5)


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ValueError, match=r"expected one of tf_efficientnet_lite0, .* got efficientnet_lite0"):
        fold(fresh_net(FOLDED))
    net = fresh_net()
    net.config = replace(CONFIG, backbone="tf_efficientnet_lite0.in1k")
    assert fold(net).config == FOLDED


def test_only_folded_weights_are_released(tmp_path):
    """Half precision keeps 11 bits: a score moves by some ten thousandths."""
    stored, out = tmp_path / "stored.safetensors", tmp_path / "out.safetensors"
    write_weights(fresh_net(), stored)
    with pytest.raises(ValueError, match=r"python -m qfm_metric\.train fold writes them"):
        release.manifest_entry(stored, {}, read_manifest()["default"])
    assert release.fold_weights(str(stored), out) < 1e-3
    assert release.manifest_entry(out, {}, read_manifest()["default"])["bytes"] == out.stat().st_size


def losses(folder):
    lines = (folder / "losses.csv").read_text().splitlines()[1:]
    return [float(value) for _, name, value in (line.split(",") for line in lines) if name == "regression"]


def test_a_folded_network_trains_as_the_unfolded_one(world, tmp_path):
    """From the same scores, on the same material; the loss falls."""
    config = replace(LOOP, steps=10, joint_from=10, decay_from=10, every=10)
    for name, net in (("unfolded", fresh_net()), ("folded", fold(fresh_net()))):
        before = {key: tensor.clone() for key, tensor in net.backbone.named_parameters()}
        trained = small_world.run(world, tmp_path / name, config=config, net=net)
        moved = {key for key, tensor in trained.backbone.named_parameters() if not torch.equal(tensor, before[key])}
        assert moved == before.keys()
    folded, unfolded = losses(tmp_path / "folded"), losses(tmp_path / "unfolded")
    assert folded[0] == pytest.approx(unfolded[0], rel=1e-4)  # the same network: sums in another order
    assert sum(folded[-3:]) < 0.7 * sum(folded[:3])


def test_training_starts_from_folded_weights(tmp_path):
    known, path = fold(fresh_net()), tmp_path / "folded.safetensors"
    write_weights(known, path)
    net = fresh_net(FOLDED)
    start_from(net, str(path))
    assert torch.equal(net.backbone.conv_stem.bias, known.backbone.conv_stem.bias.half().float())
    assert torch.equal(build(FOLDED, str(path)).backbone.conv_stem.bias, net.backbone.conv_stem.bias)
    with pytest.raises(ValueError, match=r"--set network\.backbone=efficientnet_lite0"):
        start_from(fresh_net(), str(path))


def test_a_folded_backbone_starts_from_weights_with_batchnorm(tmp_path):
    net, path = fresh_net(), tmp_path / "imagenet.safetensors"
    state = {name: x for name, x in net.backbone.state_dict().items() if x.is_floating_point()}
    save_file({**state, "classifier.bias": torch.zeros(3)}, path)
    built, wanted = build(FOLDED, str(path)).backbone.state_dict(), fold(net).backbone.state_dict()
    assert all(torch.equal(built[name], tensor) for name, tensor in wanted.items())
    del state["bn1.bias"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"missing or reshaped: bn1\.bias"):
        build(FOLDED, str(path))
