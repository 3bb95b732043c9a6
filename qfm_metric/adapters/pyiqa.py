"""QFMScore and QFMReference among the metrics of pyiqa (IQA-PyTorch).

    register()
    metric = pyiqa.create_metric("qfm")
    compare = pyiqa.create_metric("qfm-fr")

pyiqa reads files with its own reader, which neither turns pictures upright nor converts their colours to sRGB: for such
files give it `load_image(path).unsqueeze(0)`.
"""

import os

from torch import Tensor, nn

from ..reference import QFMReference
from ..score import QFMScore
from . import needs

NAME, REFERENCE_NAME = "qfm", "qfm-fr"


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
        return self.score(_rgb(images)).unsqueeze(1)  # type: ignore[no-any-return]


class QFMFR(nn.Module):
    """The architecture behind `pyiqa.create_metric("qfm-fr")`.

    Args:
        source: As for `QFMScore.from_pretrained`, of weights that compare with a reference.

    Raises:
        WeightsError: they do not.
    """

    def __init__(self, source: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.compare = QFMReference(QFMScore.from_pretrained(source))

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        """`(N, 3, H, W)` or grey `(N, 1, H, W)` in [0, 1], and their references, to `(N, 1)`."""
        return self.compare(_rgb(images), _rgb(references)).unsqueeze(1)  # type: ignore[no-any-return]


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def register() -> None:
    """Make `pyiqa.create_metric("qfm")` and `"qfm-fr"` work, and list them in `pyiqa.list_models()`; can be repeated.

    The first is a no-reference metric, the second a full-reference one; from 0 to 1, higher is better. With
    `as_loss=True` pyiqa returns the mean score itself, as it does for its other metrics: minimise one minus it.
    """
    with needs("pyiqa"):
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
        from pyiqa.utils.registry import ARCH_REGISTRY
    for name, architecture, mode in ((NAME, QFM, "NR"), (REFERENCE_NAME, QFMFR, "FR")):
        ARCH_REGISTRY.register(architecture, override=True)
        DEFAULT_CONFIGS[name] = {
            "metric_opts": {"type": architecture.__name__},
            "metric_mode": mode,
            "lower_better": False,
            "score_range": "0, 1",
        }
