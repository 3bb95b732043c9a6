"""A metric of random weights, the same in every process."""

from dataclasses import replace
from typing import Any

import torch

from qfm_metric import QFMScore
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet

SMALL = QFMConfig(
    backbone="test_efficientnet", view_pixels=64 * 64, native_views=1, dim=16, queries=2, heads=2, mean=(0.4, 0.5, 0.6)
)


def make_small_metric(**config: Any) -> QFMScore:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        metric = QFMScore(QFMNet(replace(SMALL, **config)))
    metric.net.calibration.slope.fill_(5.0)  # random weights score all images nearly alike, about 0.5 before this
    metric.net.calibration.offset.fill_(-2.5)
    return metric
