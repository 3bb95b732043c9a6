"""qfm_metric: no-reference image quality, as a number from 0 to 1.

>>> score = QFMScore()
>>> score(torch.rand(2, 3, 224, 224)).shape
torch.Size([2])
"""

from typing import TYPE_CHECKING, Any

from .images import ImageError, load_image
from .score import QFMScore
from .weights import WeightsError

if TYPE_CHECKING:
    from .files import score_files

__version__ = "0.1.0"
__all__ = ["ImageError", "QFMScore", "WeightsError", "load_image", "score_files"]


def __getattr__(name: str) -> Any:
    if name == "score_files":
        from .files import score_files

        return score_files
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
