"""Start a backbone from ImageNet weights: a local file, or timm's own download."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ..hub import load_weights
from ..model import QFMConfig, QFMNet
from ..weights import check_fit


def build(config: QFMConfig, init: str) -> QFMNet:
    """A network whose backbone starts from `init`: `timm` (its own download), `none` (random), or a file."""
    if init in ("timm", "none"):
        return QFMNet(config, pretrained=init == "timm")
    net = QFMNet(config)
    load_backbone(net, Path(init))
    return net


def load_backbone(net: QFMNet, path: Path) -> None:
    """Load a full timm classifier's weights into `net.backbone`; the classifier's last layers are left out.

    Raises:
        ValueError: no such file, or a tensor that the backbone needs is missing or has another shape.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected ImageNet weights in timm's names (safetensors), or 'timm'")
    stored, wanted = load_file(path), net.backbone.state_dict()
    # BatchNorm's step counters play no part in a network with fixed statistics; older files lack them.
    wanted = {name: tensor for name, tensor in wanted.items() if not name.endswith("num_batches_tracked")}
    off = [name for name, tensor in wanted.items() if name not in stored or stored[name].shape != tensor.shape]
    if off:
        raise ValueError(f"{path}: no weights of {net.config.backbone}; missing or reshaped: {', '.join(off[:5])}")
    net.backbone.load_state_dict({name: stored[name] for name in wanted}, strict=False)


def start_from(net: QFMNet, source: str, frozen: int) -> None:
    """Load released weights (an id or a file) into a network of the same shape, whatever its views.

    Raises:
        WeightsError: no such weights, or tensors of other names or shapes.
        ValueError: their first `frozen` blocks differ from the network's, for which views were cached.
    """
    weights = load_weights(source)
    ours = {name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()}
    check_fit(weights, ours)
    stem = ["conv_stem", "bn1"] if frozen else []
    prefixes = tuple(f"backbone.{part}." for part in (*stem, *(f"blocks.{i}" for i in range(frozen))))
    early = {name: tensor for name, tensor in ours.items() if name.startswith(prefixes)}
    # Released weights are stored in half precision.
    moved = [name for name, tensor in early.items() if not torch.equal(tensor.half(), weights.tensors[name].half())]
    if moved:
        raise ValueError(
            f"{source}: its early layers are not those that views were cached with: {', '.join(moved[:5])}"
        )
    kept = weights.tensors | early
    net.load_state_dict(kept, strict=False)  # left out are BatchNorm's step counters
