"""A metric without a network: how bright a picture is."""

import numpy as np
import torch

from qfm_metric.rating import Rating


class Brightness:
    runtime = "numpy"
    signature = "brightness"
    weights_id = "brightness"
    weights_sha256 = "1" * 64
    device = torch.device("cpu")

    def look(self, pixels):
        return float(np.asarray(pixels, dtype=np.float64).mean()) / 255

    def rate(self, views, maps=False, descriptors=False):
        return [Rating(score) for score in views]

    def show(self, views, size):
        return torch.full((3, *size), views)
