"""From a trained network to a weights file that `QFMScore.from_pretrained` reads."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor

from ..model import QFMNet
from ..weights import save_weights
from .evaluate import Scores


def calibrate(net: QFMNet, scores: Scores, mos: Scores) -> None:
    """Fit the calibration's slope and offset on validation: least squares between calibrated score and MOS.

    Args:
        net: Changed in place.
        scores: `(N,)` of `net` as it is now, in (0, 1).
        mos: `(N,)`, in [0, 1].
    """
    clipped = np.clip(np.asarray(scores, dtype=float), 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))

    def error(found: np.ndarray) -> float:
        return float(np.mean((1 / (1 + np.exp(-(np.exp(found[0]) * logits + found[1]))) - mos) ** 2))

    log_slope, offset = minimize(error, [0.0, 0.0], method="Nelder-Mead").x
    # The scores came through the calibration as it was: sigmoid(slope * logit + offset).
    before = net.calibration
    before.offset.mul_(float(np.exp(log_slope))).add_(float(offset))
    before.slope.mul_(float(np.exp(log_slope)))


@torch.inference_mode()
def golden_stages(net: QFMNet, image: Tensor) -> dict[str, Tensor]:
    """What every stage answers to one `(3, H, W)` image, in the order of the data flow, small enough to keep."""
    views = net.preprocess(image[None])
    maps = net.pyramid(views)
    tokens = net.embed(net.cells(maps), n=1)
    logits = net.forward_head(tokens)
    stages = {"1 views": F.adaptive_avg_pool2d(views[0], 8)}
    stages |= {f"2 map {i}": features[0].mean(dim=(-2, -1)) for i, features in enumerate(maps)}
    stages |= {"3 tokens": tokens[0, ::12], "4 logit": logits, "5 score": net.calibration(logits)}
    return {name: tensor.contiguous() for name, tensor in stages.items()}


def export(net: QFMNet, path: Path) -> str:
    """Write `net` in half precision with its config in the header; returns the file's SHA-256."""
    return save_weights(path, asdict(net.config), net.state_dict(), torch.float16)
