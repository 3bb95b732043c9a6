"""A metric that returns the mean of a picture, so that grey pictures can be told apart; workers import it."""

import os
import signal

import torch
import torch.nn.functional as F

from qfm_metric.images import to_unit
from qfm_metric.rating import Rating

FATAL = 13  # pixels of width
SIDE = 64  # px: a picture is shown no larger


class Mean:
    """Stands for `QFMScore` in the command, too."""

    runtime = "torch"
    signature = 'the "mean" of ünicode'
    weights_sha256 = "0" * 64
    defects = ()
    device = torch.device("cpu")

    def from_pretrained(self, source):
        return self

    def to(self, device):
        return self

    def look(self, pixels):
        return to_unit(pixels)

    def rate(self, views, maps=False, descriptors=False):
        """The map: the mean of each quarter of the picture. The descriptor: an angle, up to 90 degrees for white."""
        quarters = [F.adaptive_avg_pool2d(view.mean(dim=0, keepdim=True), 2) if maps else None for view in views]
        angles = [torch.stack([a.cos(), a.sin()]) if descriptors else None for a in (v.mean() * 1.5708 for v in views)]
        found = zip(views, quarters, angles, strict=True)
        return [Rating(self.of(view), None, quarter, descriptor=angle) for view, quarter, angle in found]

    def show(self, views, size):
        return F.interpolate(views[None], [max(1, round(side * SIDE / max(size))) for side in size])[0]

    def of(self, view):
        return view.mean().item()


class Half(Mean):
    """A metric that can be told from the other."""

    def of(self, view):
        return super().of(view) / 2


class Fatal(Mean):
    """Kills its process when it sees a picture of a certain width, as a decoder that crashes would."""

    def look(self, pixels):
        if pixels.shape[1] == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().look(pixels)


class KilledOnce(Mean):
    """Kills its process when it sees a picture of a certain width for the first time, as a lost node would."""

    def __init__(self, marker):
        self.marker = marker

    def look(self, pixels):
        if pixels.shape[1] == FATAL and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().look(pixels)
