"""qfm_metric: no-reference image quality, as a number from 0 to 1.

>>> score = QFMScore()
>>> score(torch.rand(2, 3, 224, 224)).shape
torch.Size([2])
"""

from .assessment import Assessment
from .images import ImageError, load_image
from .score import QFMScore
from .weights import WeightsError

__version__ = "0.1.0"
__all__ = ["Assessment", "ImageError", "QFMScore", "WeightsError", "load_image"]
