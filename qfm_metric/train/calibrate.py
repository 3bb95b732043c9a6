"""From a trained network to a weights file that `QFMScore.from_pretrained` reads."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor

from ..model import QFMNet
from ..weights import save_weights
from .agreement import Scores
from .uncertainty import fit_scale


def calibrate(net: QFMNet, scores: Scores, mos: Scores) -> Scores:
    """Fit the calibration's slope and offset on validation: least squares between calibrated score and MOS.

    Args:
        net: Changed in place.
        scores: `(N,)` of `net` as it is now, in (0, 1).
        mos: `(N,)`, in [0, 1].

    Returns:
        `(N,)`, the calibrated scores.
    """
    clipped = np.clip(np.asarray(scores, dtype=float), 1e-6, 1 - 1e-6)
    logits = np.log(clipped / (1 - clipped))

    def calibrated(found: np.ndarray) -> Scores:
        return 1 / (1 + np.exp(-(np.exp(found[0]) * logits + found[1])))

    found = minimize(lambda x: float(np.mean((calibrated(x) - mos) ** 2)), [0.0, 0.0], method="Nelder-Mead").x
    log_slope, offset = found
    # The scores came through the calibration as it was: sigmoid(slope * logit + offset).
    before = net.calibration
    before.offset.mul_(float(np.exp(log_slope))).add_(float(offset))
    before.slope.mul_(float(np.exp(log_slope)))
    return calibrated(found)


def calibrate_std(net: QFMNet, scores: Scores, stds: Scores, mos: Scores, growth: float = 1.0) -> None:
    """Fit the factor on a network's predicted deviations on validation (`uncertainty.fit_scale`); no score moves.

    Args:
        net: Changed in place; one that predicts an uncertainty.
        scores: `(N,)`, calibrated.
        stds: `(N,)` of `net` as it is now.
        mos: `(N,)`, in [0, 1].
        growth: How much larger errors are elsewhere than on validation (`teacher.error_growth`).
    """
    bias: Tensor = net.uncertainty[1].bias  # type: ignore[assignment]
    bias.data += math.log(growth * fit_scale(scores, stds, mos))


@torch.inference_mode()
def golden_stages(net: QFMNet, image: Tensor) -> dict[str, Tensor]:
    """What every stage answers to one `(3, H, W)` image, in the order of the data flow, small enough to keep."""
    views = net.preprocess(image[None])
    maps = net.pyramid(views)
    tokens = net.embed(net.cells(maps), n=1)
    answers = net.decoder(tokens)
    logits = net.forward_logits(answers)
    stages = {"1 views": F.adaptive_avg_pool2d(views[0], 8)}
    stages |= {f"2 map {i}": features[0].mean(dim=(-2, -1)) for i, features in enumerate(maps)}
    stages |= {"3 tokens": tokens[0, ::12], "4 logit": logits, "5 score": net.calibration(logits)}
    if net.config.uncertainty:
        stages["6 deviation"] = net.forward_std(answers)
    return {name: tensor.contiguous() for name, tensor in stages.items()}


def export(net: QFMNet, path: Path) -> str:
    """Write `net` in half precision with its config in the header; returns the file's SHA-256."""
    return save_weights(path, asdict(net.config), net.state_dict(), torch.float16)


def manifest_entry(
    path: Path, evaluations: Mapping[str, Mapping[str, Any]], commands: str, like: Mapping[str, Any]
) -> dict[str, Any]:
    """The weights manifest's entry of a file, with the figures that were measured.

    Args:
        path: The weights file.
        evaluations: What `evaluate` printed, by the part's name, as in "BIQ2021 test".
        commands: That made the figures.
        like: An entry of the same licence and training data.
    """
    content = path.read_bytes()
    figures: dict[str, Any] = {"command": commands}
    for name, found in evaluations.items():
        whole = {key: found["all"][key] for key in ("srcc", "plcc", "krcc", "rmse")}
        low, high = found["srcc_interval"]
        spread = {"srcc_low_95": low, "srcc_high_95": high, "within_srcc": found["within_srcc"]}
        subsets = {f"srcc_{subset}": part["srcc"] for subset, part in found["subsets"].items()}
        figures[name] = {"images": found["all"]["n"], **_rounded(whole | spread | subsets)}
        if "no_duplicates" in found:
            part = found["no_duplicates"]
            rest = _rounded({"srcc": part["srcc"], "plcc": part["plcc"]})
            figures[f"{name} without near-duplicates"] = {"images": part["n"], **rest}
    nowhere = {"repo_id": None, "revision": None, "filename": None}
    facts = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    kept = {key: like[key] for key in ("licence", "training_data")}
    return {**kept, **nowhere, **facts, "figures": figures}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}
