"""From weights to a network, and from a network to a folder of weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .atomic import check_replaceable, whole_file
from .card import model_card
from .config import QFMConfig
from .decoding.errors import lacks_memory
from .model import QFMNet
from .own_files import is_config, is_weights
from .torch_defaults import NothingDrawn, torch_defaults
from .weights import CONFIG, FILE, Weights, WeightsError, check_fit, read_manifest, save_weights


@torch_defaults()
def build_net(weights: Weights) -> QFMNet:
    """A network with these weights; every tensor that is missing, unexpected or of another shape is named at once."""
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in weights.config.items()}
        config = QFMConfig(**values)
        with torch.device("meta"), NothingDrawn():  # takes no memory, whatever backbone a foreign file names
            wanted = QFMNet(config).state_dict()
        check_fit(weights, {name: tensor for name, tensor in wanted.items() if tensor.is_floating_point()})
        with torch.random.fork_rng(devices=[]), NothingDrawn():  # foreign backbones may draw in other ways
            net = QFMNet(config)
    except WeightsError:
        raise
    except Exception as error:  # timm raises what it likes for names and depths that it does not have
        if lacks_memory(error):
            raise
        raise WeightsError(
            f"weights {weights.id!r}: the config in the header cannot be built: {error}; export them again"
        ) from error
    net.load_state_dict(weights.tensors, strict=False)  # left out are BatchNorm's step counters, see save_weights
    return net


def save_net(net: QFMNet, folder: Path) -> None:
    """See `QFMScore.save_pretrained`."""
    config, tensors = asdict(net.config), net.state_dict()
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    exact = all(torch.equal(tensor.half().to(tensor.dtype), tensor) for tensor in floats)
    try:
        check_replaceable(folder / FILE, is_weights)  # both before either is written
        check_replaceable(folder / CONFIG, is_config)
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = save_weights(folder / FILE, config, tensors, torch.float16 if exact else torch.float32)
        with whole_file(folder / CONFIG) as file:
            file.write(json.dumps(config, indent=2, sort_keys=True) + "\n")
        if not (folder / "README.md").exists():  # may be somebody's own
            # The written bytes decide: a network that was changed since it was loaded inherits no figures.
            entries = read_manifest()["weights"].items()
            released = next((item for item in entries if item[1]["sha256"] == sha256), (folder.name, None))
            with whole_file(folder / "README.md") as file:
                file.write(model_card(*released))
    except FileExistsError as error:
        raise WeightsError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        raise WeightsError(f"{folder}: cannot write ({error.strerror}); free space, or choose another") from error
