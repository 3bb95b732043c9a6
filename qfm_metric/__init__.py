"""qfm_metric: no-reference image quality, as a number from 0 to 1.

>>> score = QFMScore()
>>> score(torch.rand(2, 3, 224, 224)).shape
torch.Size([2])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .assessment import Assessment
from .images import ImageError, load_image
from .score import QFMScore
from .weights import WeightsError

if TYPE_CHECKING:
    from .files import score_files
    from .guard import GuardedScore
    from .job import EncodedImage
    from .loss import QFMLoss

__version__ = "0.1.0"
__all__ = [
    "Assessment",
    "EncodedImage",
    "GuardedScore",
    "ImageError",
    "QFMLoss",
    "QFMScore",
    "WeightsError",
    "load_image",
    "score_files",
]

# Imported when they are first asked for.
_LATER = {"EncodedImage": "job", "GuardedScore": "guard", "QFMLoss": "loss", "score_files": "files"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
