"""Ours are timm's EfficientNet-Lite, BatchNorm folded, map by map; a network with one needs torch alone."""

import subprocess
import sys

import pytest
import timm
import torch
from helpers.processes import command, environment
from PIL import Image
from torch import nn

from qfm_metric.backbone import VARIANTS, EfficientNetLite, build_backbone
from qfm_metric.train.batchnorm import fold_backbone


def unlike_any(backbone):
    """In double precision, with statistics that differ in every channel."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low, high in (
            (norm.running_mean, -0.5, 0.5),
            (norm.running_var, 0.3, 2.0),
            (norm.weight.data, 0.5, 1.5),
            (norm.bias.data, -0.5, 0.5),
        ):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return backbone.double().eval()


@pytest.mark.parametrize("depths", [(0, 1, 2, 3, 4), (0, 1, 2, 3), (1, 3), (4,)])
@pytest.mark.parametrize("name", VARIANTS)
def test_ours_are_timms_folded(name, depths):
    theirs = unlike_any(build_backbone(f"tf_{name}", depths))
    ours = EfficientNetLite(name, depths).double()
    fold_backbone(theirs, ours)
    assert len(ours.blocks) == len(theirs.blocks)  # both end where the last map lies
    for method in ("channels", "reduction"):
        assert getattr(ours.feature_info, method)() == getattr(theirs.feature_info, method)()
    modules = [[info["module"] for info in net.feature_info.get_dicts()] for net in (ours, theirs)]
    assert modules[0] == modules[1]
    views = torch.rand(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        for found, expected in zip(ours(views), theirs(views), strict=True):
            # Double precision has 16 digits, of which some 40 layers of sums in another order take a few.
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_what_ours_do_not_have_is_refused():
    with pytest.raises(ValueError, match="ascending indices from 0 to 4 for efficientnet_lite0"):
        build_backbone("efficientnet_lite0", (0, 5))
    with pytest.raises(ValueError, match="ascending indices"):
        build_backbone("efficientnet_lite0", (1, 0))
    with pytest.raises(ValueError, match="fold the weights of tf_efficientnet_lite0"):
        build_backbone("efficientnet_lite0", (0,), pretrained=True)


def test_other_names_are_timms():
    assert isinstance(build_backbone("test_efficientnet", (0, 1)), timm.models.efficientnet.EfficientNetFeatures)


def test_a_picture_is_scored_where_torchvision_cannot_be_imported(folded_weights, tmp_path):
    """As beside builds of torch that it was not made for: timm imports it."""
    for package in ("torchvision", "timm"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    picture = tmp_path / "picture.png"
    Image.linear_gradient("L").convert("RGB").save(picture)
    found = command(
        "--weights", folded_weights, picture, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = found.communicate(timeout=300)
    assert (found.returncode, err) == (0, b"")
    assert 0 < float(out.split()[0]) < 1


def test_scoring_a_picture_loads_no_compiler(tmp_path):
    """`torch._dynamo` and sympy take as long to import as torch: draws and arithmetic on the meta device ask for them.

    With the default weights, whose network has every part.
    """
    Image.new("RGB", (80, 64)).save(tmp_path / "picture.png")
    script = "import sys; from qfm_metric.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    words = [sys.executable, "-c", script, tmp_path / "picture.png"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.splitlines()[1].split())
    assert "torch" in loaded
    assert not {"torch._dynamo", "sympy", "timm", "torchvision", "huggingface_hub", "torch.onnx"} & loaded
