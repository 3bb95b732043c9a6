"""BatchNorm run as a part of the convolution before it, while both are trained: less time, and half the memory."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


def fold(backbone: nn.Module) -> None:
    """Run each convolution with the scale and shift of the BatchNorm behind it, whose statistics stay as they are.

    The same function of the same parameters. It is bound to these very modules: a copy has to be folded itself.

    Args:
        backbone: Of timm, changed in place; layers that are no pair of convolution and BatchNorm stay as they are.
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
