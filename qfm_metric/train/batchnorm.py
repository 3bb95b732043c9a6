"""BatchNorm made one with the convolution before it: for good, in a network of ours, or only as it is run in training.

`fold` makes of a network that was trained in timm's form the one that is released: the same scores, but for the order
of summation, faster, and built without timm. `run_folded` leaves all parameters as they are and runs both layers as one
while they are trained: less time, and half the memory.
"""

import itertools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
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


def run_folded(backbone: nn.Module) -> None:
    """Run each convolution with the scale and shift of the BatchNorm behind it, whose statistics stay as they are.

    The same function of the same parameters. It is bound to these very modules: a copy has to be folded itself.

    Args:
        backbone: Changed in place; layers that are no pair of convolution and BatchNorm stay as they are.
    """
    for module in backbone.modules():
        children = list(module.children())
        for convolution, norm in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and convolution.bias is None:
                _bind(convolution, norm)


def _bind(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    from timm.layers import Conv2dSame  # type: ignore[attr-defined]
    from timm.layers.padding import pad_same

    def convolve(x: Tensor) -> Tensor:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = convolution.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
        padding = convolution.padding
        if isinstance(convolution, Conv2dSame):
            kernel, stride, dilation = map(list, (convolution.kernel_size, convolution.stride, convolution.dilation))
            x, padding = pad_same(x, kernel, stride, dilation), (0, 0)
        return F.conv2d(x, weight, bias, convolution.stride, padding, convolution.dilation, convolution.groups)

    def activate(x: Tensor) -> Tensor:
        return norm.act(norm.drop(x)) if hasattr(norm, "act") else x  # type: ignore[operator, no-any-return]

    convolution.forward, norm.forward = convolve, activate  # type: ignore[assignment, method-assign]
