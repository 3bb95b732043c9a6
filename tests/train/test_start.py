"""A backbone starts from a file of ImageNet weights, or says what is wrong with it."""

from dataclasses import replace

import pytest
import torch
from helpers.small_world import CONFIG, FROZEN, fresh_net
from safetensors.torch import save_file

from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.start import build, start_from
from qfm_metric.weights import read_manifest


def test_backbone_from_a_file(tmp_path):
    net, path = fresh_net(), tmp_path / "imagenet.safetensors"
    state = {k: v + 1 for k, v in net.backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file({**state, "classifier.bias": torch.zeros(3)}, path)
    built = build(CONFIG, str(path))
    assert all(torch.equal(built.backbone.state_dict()[name], tensor) for name, tensor in state.items())
    del state["conv_stem.weight"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"conv_stem\.weight"):
        build(CONFIG, str(path))
    with pytest.raises(ValueError, match="no such file"):
        build(CONFIG, str(tmp_path / "none.safetensors"))


def test_going_on_from_weights_keeps_the_early_layers_of_the_cache(tmp_path):
    net = fresh_net()
    with torch.no_grad():
        net.head[1].bias.fill_(0.25)
    stored = tmp_path / "stored.safetensors"
    write_weights(net, stored)
    again = fresh_net()
    stem = again.backbone.conv_stem.weight.clone()
    start_from(again, str(stored), FROZEN)
    assert again.head[1].bias.item() == 0.25
    assert torch.equal(again.backbone.conv_stem.weight, stem)  # and not what half precision made of it
    assert not torch.equal(stem, stem.half().float())
    with torch.no_grad():
        net.backbone.conv_stem.weight.mul_(2)
    write_weights(net, stored)
    with pytest.raises(ValueError, match=r"early layers .* backbone\.conv_stem\.weight"):
        start_from(again, str(stored), FROZEN)
    start_from(again, str(stored), 0)  # nothing is cached: anything goes
    assert torch.equal(again.backbone.conv_stem.weight, net.backbone.conv_stem.weight.half().float())


def test_an_uncertainty_head_may_be_learned_later(tmp_path):
    known = fresh_net()
    write_weights(known, tmp_path / "known.safetensors")
    net = fresh_net(replace(CONFIG, uncertainty=True))
    with torch.no_grad():
        net.project.weight.zero_()
    start_from(net, str(tmp_path / "known.safetensors"), 0)
    assert torch.equal(net.project.weight, known.project.weight.half().float())


def test_a_backbone_from_weights_of_ours(tmp_path):
    known, path = fresh_net(), tmp_path / "known.safetensors"
    write_weights(known, path)
    torch.manual_seed(1)
    built = build(replace(CONFIG, dim=32), str(path))  # another head
    for name, tensor in known.backbone.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(built.backbone.state_dict()[name], tensor.half().float())
    known_id = read_manifest()["default"]
    with pytest.raises(ValueError, match=f"{known_id}: no weights of"):
        build(replace(CONFIG, backbone="mobilenetv3_small_050"), known_id)
