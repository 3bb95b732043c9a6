"""QFMScore among the metrics of pyiqa (IQA-PyTorch).

    register()
    metric = pyiqa.create_metric("qfm")

pyiqa reads files with its own reader, which neither turns pictures upright nor converts their colours to sRGB: for such
files give it `load_image(path).unsqueeze(0)`.
"""

import os

from torch import Tensor, nn

from ..score import QFMScore
from . import needs

NAME = "qfm"


class QFM(nn.Module):
    """The architecture behind `pyiqa.create_metric("qfm")`.

    Args:
        source: As for `QFMScore.from_pretrained`; `pyiqa.create_metric("qfm", source=...)` hands it on.
    """

    def __init__(self, source: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.score = QFMScore.from_pretrained(source)

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` or grey `(N, 1, H, W)` in [0, 1] to `(N, 1)`, the shape that pyiqa's MOS networks return."""
        rgb = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        return self.score(rgb).unsqueeze(1)  # type: ignore[no-any-return]


def register() -> None:
    """Make `pyiqa.create_metric("qfm")` work, and list it in `pyiqa.list_models()`; calling it again is harmless.

    The metric is a no-reference one, from 0 to 1, higher is better. With `as_loss=True` pyiqa returns the mean score
    itself, as it does for its other metrics: minimise one minus it.
    """
    with needs("pyiqa"):
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
        from pyiqa.utils.registry import ARCH_REGISTRY
    ARCH_REGISTRY.register(QFM, override=True)
    DEFAULT_CONFIGS[NAME] = {
        "metric_opts": {"type": QFM.__name__},
        "metric_mode": "NR",
        "lower_better": False,
        "score_range": "0, 1",
    }
