"""A metric that returns the mean of a picture, so that grey pictures can be told apart; workers import it."""

import os
import signal
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

FATAL = 13  # pixels of width


class MeanNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(view_pixels=64 * 64, native_views=0)
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))

    def distinct_views(self, images):
        return self.stack_views(images, [])

    def stack_views(self, whole, pieces):
        return whole[:, None]

    def score_views(self, views):
        return views.mean(dim=(1, 2, 3, 4))

    def assess_views(self, views):
        """The map: the mean of each quarter of the picture."""
        return self.score_views(views), None, F.adaptive_avg_pool2d(views[:, 0].mean(dim=1, keepdim=True), 2)


class FatalNet(MeanNet):
    """Kills its process when it sees a picture of a certain width, as a decoder that crashes would."""

    def distinct_views(self, images):
        if images.shape[-1] == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().distinct_views(images)


class KilledOnceNet(MeanNet):
    """Kills its process when it sees a picture of a certain width for the first time, as a lost node would."""

    def __init__(self, marker):
        super().__init__()
        self.marker = marker

    def distinct_views(self, images):
        if images.shape[-1] == FATAL and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().distinct_views(images)


def half(views):
    """A network that can be told from the metric's own: half of the mean."""
    return views.mean(dim=(1, 2, 3, 4)) / 2


class Mean:
    report = 'the "mean" of ünicode'
    weights_sha256 = "0" * 64
    device = torch.device("cpu")

    def __init__(self, net=None):
        self.net = net or MeanNet()

    def from_pretrained(self, source):
        return self

    def to(self, device):
        return self

    def __call__(self, images):
        return torch.stack([image.mean() for image in images])
