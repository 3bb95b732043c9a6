"""A backbone starts from a file of ImageNet weights, or says what is wrong with it."""

import pytest
import torch
from safetensors.torch import save_file
from small_world import CONFIG, fresh_net

from qfm_metric.train import init


def test_backbone_from_a_file(tmp_path):
    net, path = fresh_net(), tmp_path / "imagenet.safetensors"
    state = {k: v + 1 for k, v in net.backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file({**state, "classifier.bias": torch.zeros(3)}, path)
    built = init.build(CONFIG, str(path))
    assert all(torch.equal(built.backbone.state_dict()[name], tensor) for name, tensor in state.items())
    del state["conv_stem.weight"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"conv_stem\.weight"):
        init.build(CONFIG, str(path))
    with pytest.raises(ValueError, match="no such file"):
        init.build(CONFIG, str(tmp_path / "none.safetensors"))
