"""Score pictures that are made as they are needed, in several processes."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..images import Pixels
from ..rating import Metric

Scores = NDArray[np.floating[Any]]
Make = Callable[[int], Pixels]  # number to `(H, W, 3)` uint8, or what else `read_pixels` gives

_ask: Callable[[int], Any]


def each_picture(
    ask: Callable[[int], Any], count: int, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> list[Any]:
    """What `ask` says of the pictures 0 to `count - 1`, in their order.

    Args:
        workers: Processes of one thread each; they are forked, so `ask` may close over memory maps and networks. 0:
            this process.
        progress: Gets the number of pictures done.
    """
    global _ask
    _ask = ask
    found: list[Any] = []
    if workers:
        # One thread a worker: a forked child that starts OpenMP's threads anew can hang.
        with ProcessPoolExecutor(workers, get_context("fork"), torch.set_num_threads, (1,)) as pool:
            for answer in pool.map(_asked, range(count), chunksize=4):
                found.append(answer)
                progress(len(found))
    else:
        for number in range(count):
            found.append(ask(number))
            progress(len(found))
    return found


def _asked(number: int) -> Any:
    return _ask(number)


def score_pictures(
    metric: Metric, make: Make, count: int, workers: int = 2, progress: Callable[[int], None] = lambda done: None
) -> tuple[Scores, Scores]:
    """Scores `(count,)` of the pictures `make(0)` to `make(count - 1)`, and their deviations, NaN where none is known.

    Args:
        workers, progress: See `each_picture`.
    """

    def ask(number: int) -> tuple[float, float]:
        with torch.inference_mode():
            rating = metric.rate([metric.look(make(number))])[0]
        return rating.score, float("nan") if rating.std is None else rating.std

    both = np.array(each_picture(ask, count, workers, progress), np.float64).reshape(count, 2)
    return both[:, 0], both[:, 1]
