"""Score pictures that are made as they are needed, in several processes."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..images import Pixels
from ..score import Metric

Scores = NDArray[np.floating[Any]]
Make = Callable[[int], Pixels]  # number to `(H, W, 3)` uint8, or what else `read_pixels` gives

_job: tuple[Metric, Make]


def score_pictures(
    metric: Metric, make: Make, count: int, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> tuple[Scores, Scores]:
    """Scores `(count,)` of the pictures `make(0)` to `make(count - 1)`, and their deviations, NaN where none is known.

    Args:
        workers: Processes of one thread each; they are forked, so `make` may close over memory maps. 0: this process.
        progress: Gets the number of pictures done.
    """
    global _job
    _job = metric, make
    found: list[tuple[float, float]] = []
    if workers:
        # One thread a worker: a forked child that starts OpenMP's threads anew can hang.
        pool = ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,))
        with pool:
            for rating in pool.map(_score, range(count), chunksize=4):
                found.append(rating)
                progress(len(found))
    else:
        for number in range(count):
            found.append(_score(number))
            progress(len(found))
    both = np.array(found, np.float64).reshape(count, 2)
    return both[:, 0], both[:, 1]


def _score(number: int) -> tuple[float, float]:
    metric, make = _job
    with torch.inference_mode():
        rating = metric.rate([metric.look(make(number))])[0]
    return rating.score, float("nan") if rating.std is None else rating.std
