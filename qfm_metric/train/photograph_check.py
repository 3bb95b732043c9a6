"""Does a network tell photographs from the pictures of a folder, which are none? Measured; nothing is fitted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..images import ImageError, is_blank
from ..score import QFMScore
from ..weights import WeightsError
from .agreement import Scores
from .datasets.table import DataError, Decoded
from .frozen import look, pixels_of
from .photograph import Check, check, photograph_means


def check_folder(
    weights: str | None,
    data: Path,
    folder: Path,
    *,
    count: int = 3000,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Check:
    """Of a network with the head, on validation photographs and the pictures in a folder and the folders in it.

    Args:
        weights: Id or file; None: the shipped weights.
        data: What `prepare` wrote.
        folder: Pictures that are no photographs; blank and unreadable ones are left out.
        count: Validation photographs, at most.
        workers: Processes.
        say: Gets what was left out, and the share that is noted of each folder in the folder.

    Raises:
        DataError: no picture in the folder, or no validation photograph.
        WeightsError: the network has no such head.
    """
    metric, decoded = QFMScore.from_pretrained(weights), Decoded.open(data / "decoded")
    if not metric.net.config.photograph:
        raise WeightsError(f"weights {metric.weights_id!r}: expected weights that tell photographs; train their head")
    places = np.random.default_rng(0).permutation(decoded.select("val"))[:count]
    paths = [path for path in pictures_in(folder) if _is_shown(path, say)]
    if not paths or not len(places):
        raise DataError(f"{folder}: expected pictures, and validation photographs; got {len(paths)} and {len(places)}")
    others = _logits(metric, look(metric, lambda i: pixels_of(paths[i]), len(paths), workers).means)
    parts = np.array([path.relative_to(folder).parts[0] for path in paths])
    for name in np.unique(parts):
        noted = others[parts == name] <= 0
        say(f"{name}: {noted.sum()} of {len(noted)} noted")
    colour, grey = (
        _logits(metric, photograph_means(metric, decoded, places, as_grey, workers)) for as_grey in (False, True)
    )
    return check(colour, grey, others)


def pictures_in(folder: Path) -> Iterator[Path]:
    """Files whose suffix Pillow knows, in a folder and the folders in it, in order."""
    known = Image.registered_extensions()
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in known and path.is_file())


def _logits(metric: QFMScore, means: Scores) -> Scores:
    head = metric.net.photograph
    return means @ head.weight[0].double().numpy() + head.bias.item()


def _is_shown(path: Path, say: Callable[[str], None]) -> bool:
    try:
        blank = is_blank(pixels_of(path))
    except ImageError as error:
        say(f"left out: {error}")
        return False
    return not blank
