"""A backbone starts from a file of ImageNet weights, or says what is wrong with it."""

from dataclasses import replace

import pytest
import torch
from helpers.small_world import CONFIG, fresh_net
from safetensors.torch import save_file

from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.start import build, start_from
from qfm_metric.weights import WeightsError, read_manifest


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
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"imagenet\.safetensors: not a safetensors file, or a damaged one"):
        build(CONFIG, str(path))


def test_going_on_from_weights_takes_all_of_them(tmp_path):
    known, stored = fresh_net(), tmp_path / "stored.safetensors"
    with torch.no_grad():
        for parameter in known.parameters():
            parameter.add_(0.01)
    write_weights(known, stored)
    again = fresh_net(replace(CONFIG, view_pixels=20480))  # the views do not matter
    start_from(again, str(stored))
    for name, tensor in known.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(again.state_dict()[name], tensor.half().float()), name


def test_deviations_and_defects_may_be_learned_later(tmp_path):
    known = fresh_net(replace(CONFIG, uncertainty=False, defects=()))
    write_weights(known, tmp_path / "known.safetensors")
    net = fresh_net()
    with torch.no_grad():
        net.project.weight.zero_()
    start_from(net, str(tmp_path / "known.safetensors"))
    assert torch.equal(net.project.weight, known.project.weight.half().float())


def test_what_tells_photographs_may_be_learned_later_and_goes_on(tmp_path):
    known = fresh_net()
    write_weights(known, tmp_path / "known.safetensors")
    net = fresh_net(replace(CONFIG, photograph=True))
    start_from(net, str(tmp_path / "known.safetensors"))
    write_weights(net, tmp_path / "telling.safetensors")
    again = fresh_net(replace(CONFIG, photograph=True))
    with torch.no_grad():
        again.photograph.weight.zero_()
    start_from(again, str(tmp_path / "telling.safetensors"))
    assert torch.equal(again.photograph.weight, net.photograph.weight.half().float())


def test_weights_of_another_shape_are_refused_by_name(tmp_path):
    write_weights(fresh_net(), tmp_path / "known.safetensors")
    with pytest.raises(WeightsError, match=r"project\.weight has shape \(16, \d+\), expected \(32, \d+\)"):
        start_from(fresh_net(replace(CONFIG, dim=32)), str(tmp_path / "known.safetensors"))


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
