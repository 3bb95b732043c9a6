"""qfm_metric: no-reference image quality, as a number from 0 to 1.

>>> score = QFMScore()
>>> score(torch.rand(2, 3, 224, 224)).shape
torch.Size([2])
"""

from typing import TYPE_CHECKING, Any

from .assessment import Assessment
from .images import ImageError, load_image
from .score import QFMScore
from .weights import WeightsError

if TYPE_CHECKING:
    from .loss import QFMLoss

__version__ = "0.1.0"
__all__ = ["Assessment", "ImageError", "QFMLoss", "QFMScore", "WeightsError", "load_image"]


def __getattr__(name: str) -> Any:
    if name == "QFMLoss":
        from .loss import QFMLoss

        return QFMLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
