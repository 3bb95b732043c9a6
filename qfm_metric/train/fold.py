"""BatchNorm folded into the convolutions before it: what is trained in timm's form is released in ours.

The scores stay, but for the order of summation. Folded networks are faster, and are built without timm.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..backbone import VARIANTS
from ..model import QFMNet

TIMM_NAMES = {f"tf_{name}": name for name in VARIANTS}


def fold(net: QFMNet) -> QFMNet:
    """A network of the same scores whose backbone is one of ours.

    Args:
        net: With a backbone of `TIMM_NAMES`; left as it is.

    Raises:
        ValueError: it has another backbone.
    """
    name = net.config.backbone.partition(".")[0]  # behind it timm names the training data
    if name not in TIMM_NAMES:
        raise ValueError(f"backbone: expected one of {', '.join(TIMM_NAMES)}, got {net.config.backbone}")
    with torch.random.fork_rng(devices=[]):  # the initial values are drawn, and then replaced
        folded = QFMNet(replace(net.config, backbone=TIMM_NAMES[name])).to(net.mean)
    rest = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("backbone.")}
    folded.load_state_dict(rest, strict=False)
    fold_backbone(net.backbone, folded.backbone)
    return folded.train(net.training)


@torch.no_grad()
def fold_backbone(normalised: nn.Module, folded: nn.Module) -> None:
    """Fill `folded`'s convolutions with those of `normalised`, each with the BatchNorm behind it."""
    ours, theirs = ([m for m in net.modules() if isinstance(m, nn.Conv2d)] for net in (folded, normalised))
    norms = [m for m in normalised.modules() if isinstance(m, nn.BatchNorm2d)]
    for convolution, unfolded, norm in zip(ours, theirs, norms, strict=True):
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        weight, bias = fuse_conv_bn_weights(unfolded.weight, unfolded.bias, *statistics)  # type: ignore[arg-type]
        assert convolution.bias is not None
        convolution.weight.copy_(weight)
        convolution.bias.copy_(bias)
