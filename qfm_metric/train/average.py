"""The mean of several files of weights: between a plain fine-tune and a specialist it travels better than either.

Only files that began as one network lie near enough for that: their layers still mean the same.

Source: Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022 (WiSE-FT).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..config import QFMConfig
from ..hub import load_weights
from ..weights import WeightsError, save_weights


def average(sources: Sequence[str], out: Path, shares: Sequence[float] | None = None) -> str:
    """Write the weighted mean of weights, and return the SHA-256 of the file.

    Args:
        sources: Ids or files, all of one config.
        out: Weights file to write, in half precision.
        shares: Of each; their sum does not matter. None: alike.

    Raises:
        ValueError: fewer than two sources, another number of shares, or shares that are not above 0.
        WeightsError: no such weights, or weights of different configs or shapes.
    """
    shares = [1.0] * len(sources) if shares is None else shares
    if len(sources) < 2 or len(shares) != len(sources) or not all(0 < share < math.inf for share in shares):
        raise ValueError(f"expected two or more weights and a share above 0 for each, got {[*sources]}, {[*shares]}")
    parts = [load_weights(source) for source in sources]
    first = parts[0]
    shapes = {name: tensor.shape for name, tensor in first.tensors.items()}
    options = asdict(QFMConfig())  # a file that was written before an option came does not have it
    for other in parts[1:]:
        if options | other.config != options | first.config or shapes != {
            name: tensor.shape for name, tensor in other.tensors.items()
        }:
            raise WeightsError(f"{other.id}: expected the config and the tensors of {first.id}, got others")

    def mean(name: str) -> Tensor:
        values = [share * part.tensors[name] for share, part in zip(shares, parts, strict=True)]
        return torch.stack(values).sum(dim=0) / sum(shares)

    return save_weights(out, first.config, {name: mean(name) for name in shapes}, torch.float16)
