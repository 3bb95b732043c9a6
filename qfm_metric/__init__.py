"""qfm_metric: no-reference image quality, as a number from 0 to 1.

>>> import torch
>>> from qfm_metric import QFMScore
>>> score = QFMScore()
>>> score(torch.rand(2, 3, 224, 224)).shape
torch.Size([2])
"""

TYPE_CHECKING = False  # typing's own, which takes longer to import than all that the command needs to hear an interrupt
if TYPE_CHECKING:
    from typing import Any

    from .assessment import Assessment
    from .facts import file_facts
    from .folder.groups import group_rows
    from .folder.one_file import EncodedImage
    from .folder.row import as_table
    from .folder.stream import score_files, score_folder
    from .folder.table import score_table
    from .guard import GuardedScore
    from .images import ImageError, load_image
    from .loss import QFMLoss
    from .panorama.score import score_360
    from .reference import QFMReference
    from .score import QFMScore
    from .video import VideoError, score_video
    from .weights import WeightsError

__version__ = "0.1.0"
__all__ = [
    "Assessment",
    "EncodedImage",
    "GuardedScore",
    "ImageError",
    "QFMLoss",
    "QFMReference",
    "QFMScore",
    "VideoError",
    "WeightsError",
    "as_table",
    "file_facts",
    "group_rows",
    "load_image",
    "score_360",
    "score_files",
    "score_folder",
    "score_table",
    "score_video",
]

# Imported when they are first asked for: torch takes seconds, and nobody waits for it to read a version.
_MODULES = {
    "Assessment": "assessment",
    "EncodedImage": "folder.one_file",
    "GuardedScore": "guard",
    "ImageError": "images",
    "QFMLoss": "loss",
    "QFMReference": "reference",
    "QFMScore": "score",
    "VideoError": "video.frames",
    "WeightsError": "weights",
    "as_table": "folder.row",
    "file_facts": "facts",
    "group_rows": "folder.groups",
    "load_image": "images",
    "score_360": "panorama.score",
    "score_files": "folder.stream",
    "score_folder": "folder.stream",
    "score_table": "folder.table",
    "score_video": "video",
}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
