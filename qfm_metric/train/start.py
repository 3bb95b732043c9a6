"""Start a backbone from ImageNet weights (a local file, or timm's own download) or from released weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..backbone import VARIANTS, build_backbone
from ..config import QFMConfig
from ..hub import load_weights
from ..model import QFMNet
from ..score import QFMScore
from ..weights import check_fit, read_manifest
from .batchnorm import fold, fold_backbone

LATER = ("uncertainty.", "defects.", "photograph.", "reference.")


def build(config: QFMConfig, init: str) -> QFMNet:
    """A network whose backbone starts from `init`.

    Args:
        init: `timm` (its own download), `none` (random), a safetensors file of a timm classifier or of a network of
            ours, or the id of released weights.
    """
    if init == "timm" and config.backbone in VARIANTS:
        return fold(QFMNet(replace(config, backbone=f"tf_{config.backbone}"), pretrained=True))
    if init in ("timm", "none"):
        return QFMNet(config, pretrained=init == "timm")
    net = QFMNet(config)
    if init in read_manifest()["weights"]:
        load_backbone(net, load_weights(init).tensors, init)
    elif Path(init).is_file():
        try:
            stored = load_file(init)
        except SafetensorError as error:
            raise ValueError(f"{init}: not a safetensors file, or a damaged one ({error}); get it again") from error
        load_backbone(net, stored, init)
    else:
        raise ValueError(f"{init}: no such file; expected weights in timm's names (safetensors), `timm`, or an id")
    return net


def load_backbone(net: QFMNet, stored: Mapping[str, Tensor], source: str) -> None:
    """Load a full timm classifier's weights, or ours, into `net.backbone`; other layers of theirs are left out.

    Into one of ours, weights with BatchNorm are folded.

    Raises:
        ValueError: a tensor that the backbone needs is missing or has another shape; names the `source`.
    """
    stored = {name.removeprefix("backbone."): tensor for name, tensor in stored.items()}
    config, backbone = net.config, net.backbone
    if unfolded := config.backbone in VARIANTS and "bn1.weight" in stored:
        backbone = build_backbone(f"tf_{config.backbone}", config.depths)
    # BatchNorm's step counters play no part in a network with fixed statistics; older files lack them.
    wanted = {name: x for name, x in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    off = [name for name, tensor in wanted.items() if name not in stored or stored[name].shape != tensor.shape]
    if off:
        raise ValueError(f"{source}: no weights of {config.backbone}; missing or reshaped: {', '.join(off[:5])}")
    backbone.load_state_dict({name: stored[name] for name in wanted}, strict=False)
    if unfolded:
        fold_backbone(backbone, net.backbone)


def config_of(source: str) -> QFMConfig:
    """The shape and preprocessing of released weights (an id or a file).

    Raises:
        WeightsError: no such weights, or a config that cannot be built.
    """
    return QFMScore.from_pretrained(source).net.config


def start_from(net: QFMNet, source: str) -> None:
    """Load released weights (an id or a file) into a network of the same shape, whatever its views.

    Heads that take no part in the score, such as that of deviations, may be missing: a network can learn them later.

    Raises:
        WeightsError: no such weights, or tensors of other names or shapes.
        ValueError: they have another backbone.
    """
    weights = load_weights(source)
    theirs, wanted = str(weights.config.get("backbone")), net.config.backbone
    if theirs.partition(".")[0] != wanted.partition(".")[0]:  # behind it timm names the training data
        raise ValueError(
            f"{source}: expected weights with the backbone {wanted}, got {theirs}; --set network.backbone={theirs}"
        )
    ours = {name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()}
    later = [head for head in LATER if not any(name.startswith(head) for name in weights.tensors)]
    check_fit(weights, {name: tensor for name, tensor in ours.items() if not name.startswith(tuple(later))})
    net.load_state_dict(weights.tensors, strict=False)  # left out are BatchNorm's step counters, too


def with_new(net: QFMNet, layers: str, **config: Any) -> QFMNet:
    """A network that is `net` but for new layers of this name, in the place of those that it may have.

    Args:
        net: It stays as it is.
        layers: Attribute of `QFMNet` that the new ones become.
        config: What changes in its config.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = QFMNet(replace(net.config, **config))
    kept = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith(f"{layers}.")}
    found.load_state_dict(kept, strict=False)
    return found.eval().requires_grad_(False)
