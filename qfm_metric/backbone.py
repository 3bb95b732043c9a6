"""Where maps of a picture come from: EfficientNet-Lite with BatchNorm folded into its convolutions, or any of timm's.

What is released has one of ours, `efficientnet_lite0` to `efficientnet_lite2`: torch alone builds it. timm takes longer
to import than torch itself, and brings torchvision with it. Ours computes what timm's `tf_efficientnet_lite0` to
`tf_efficientnet_lite2` do, and is made of one that was trained (`qfm_metric.train.batchnorm.fold`).

Source: EfficientNet-Lite (TensorFlow TPU models, 2020) after EfficientNet (arXiv 1905.11946) and MobileNetV2's blocks
(arXiv 1801.04381). Names of layers are timm's.
"""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

STEM = 32  # channels
EXPANSION = 6
KERNELS = (3, 3, 5, 3, 5, 5, 3)  # px, of each stage
STRIDES = (1, 2, 2, 2, 1, 2, 1)
MAPS = (0, 1, 2, 4, 6)  # stages whose last block gives the map of its stride

CHANNELS = (16, 24, 40, 80, 112, 192, 320)
VARIANTS = {  # channels and blocks of each stage
    "efficientnet_lite0": (CHANNELS, (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet_lite1": (CHANNELS, (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet_lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}


class Convolution(nn.Conv2d):
    """`(N, C, h, w)` to `(N, C', h / stride, w / stride)`, with ReLU6 behind it unless it is `linear`.

    Padded as in TensorFlow, where a stride of 2 looks further to the right and below. Both sides must be multiples of
    the stride.
    """

    def __init__(
        self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, linear: bool = False
    ) -> None:
        super().__init__(channels, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        missing = kernel - stride
        self.around = (missing // 2, missing - missing // 2) * 2 if stride > 1 else ()
        self.linear = linear
        nn.init.kaiming_uniform_(self.weight, nonlinearity="linear" if linear else "relu")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(F.pad(x, self.around) if self.around else x)
        return found if self.linear else F.relu6(found, inplace=True)


class Block(nn.Module):
    """Each channel filtered by itself, among `expansion` times as many; the picture is added again where it fits."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        if expansion > 1:
            self.conv_pw = Convolution(channels, wide)
        self.conv_dw = Convolution(wide, wide, kernel, stride, groups=wide)
        self.conv_pwl = Convolution(wide, out, linear=True)
        self.expands, self.has_skip = expansion > 1, stride == 1 and channels == out
        self.drop_path = nn.Identity()  # in training, what leaves the branch out at random

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv_pwl(self.conv_dw(self.conv_pw(x) if self.expands else x))
        return self.drop_path(found) + x if self.has_skip else found  # type: ignore[no-any-return]


class MapInfo(NamedTuple):
    """What is known of the maps, shallow to deep, as timm's extractors tell it.

    Attributes:
        stages: Index into `blocks` of the stage that gives each.
        widths: Channels of each.
    """

    stages: tuple[int, ...]
    widths: tuple[int, ...]

    def channels(self) -> list[int]:
        """Of each map."""
        return list(self.widths)

    def reduction(self) -> list[int]:
        """Pixels of the view per pixel of each map."""
        return [2 ** (1 + MAPS.index(stage)) for stage in self.stages]

    def get_dicts(self) -> list[dict[str, Any]]:
        """The module that gives each."""
        return [{"module": f"blocks.{stage}"} for stage in self.stages]


class EfficientNetLite(nn.Module):
    """Views to maps; no stage is built behind the last map.

    Args:
        name: One of `VARIANTS`.
        depths: Which maps, of strides 2, 4, 8, 16 and 32; ascending.

    Raises:
        ValueError: there is no such map, or they are out of order.
    """

    def __init__(self, name: str, depths: tuple[int, ...]) -> None:
        super().__init__()
        if list(depths) != sorted(set(depths)) or not 0 <= depths[0] <= depths[-1] < len(MAPS):
            raise ValueError(f"depths: expected ascending indices from 0 to {len(MAPS) - 1} for {name}, got {depths}")
        widths, repeats = VARIANTS[name]
        stages = tuple(MAPS[depth] for depth in depths)
        self.feature_info = MapInfo(stages, tuple(widths[stage] for stage in stages))
        self.conv_stem = Convolution(3, STEM, 3, 2)
        self.bn1 = nn.Identity()  # timm's have one there; ours is folded
        self.blocks = nn.Sequential()
        channels = STEM
        for stage in range(stages[-1] + 1):
            blocks = nn.Sequential()
            for i in range(repeats[stage]):
                stride, expansion = STRIDES[stage] if i == 0 else 1, EXPANSION if stage else 1
                blocks.append(Block(channels, widths[stage], KERNELS[stage], stride, expansion))
                channels = widths[stage]
            self.blocks.append(blocks)

    def forward(self, views: Tensor) -> list[Tensor]:
        """`(N, 3, h, w)`, sides multiples of 32, to maps `(N, C, h / stride, w / stride)`, shallow to deep."""
        maps, x = [], self.conv_stem(views)
        for stage, blocks in enumerate(self.blocks):
            x = blocks(x)
            if stage in self.feature_info.stages:
                maps.append(x)
        return maps


def build_backbone(name: str, depths: tuple[int, ...], *, pretrained: bool = False) -> Any:
    """What gives maps: one of `VARIANTS`, or timm's `features_only` of any other name.

    Args:
        name: Of the model.
        depths: Indices of the maps.
        pretrained: Start from timm's own ImageNet weights (downloads).

    Raises:
        ValueError: `pretrained` of one of ours, or timm has no such model.
    """
    if name in VARIANTS:
        if pretrained:
            raise ValueError(f"pretrained: expected a timm model name, got {name}; fold the weights of tf_{name}")
        return EfficientNetLite(name, depths)
    import timm

    # A vision transformer must be told that views come in many shapes.
    options: dict[str, Any] = {"dynamic_img_size": True} if name.startswith("vit") else {}
    known = {"features_only": True, "out_indices": depths, **options}
    try:
        backbone: Any = timm.create_model(name, pretrained=pretrained, **known)
    except RuntimeError as error:
        if not str(error).startswith(("Unknown model", "Invalid pretrained tag")):
            raise
        raise ValueError(f"backbone: expected a model of timm, got {name!r}: {error}") from error
    last = backbone.feature_info.get_dicts()[-1]["module"]
    if last.startswith("blocks.") and hasattr(backbone, "blocks"):
        # timm builds and runs EfficientNets to their end, wherever the last map lies.
        backbone.blocks = backbone.blocks[: int(last.split(".")[1]) + 1]
    return backbone
