"""Score a film: a row for each frame that is taken, and what they come to."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..folder.row import Row
from ..images import Pixels, naming
from ..rating import Metric, check_is_metric, errors_of
from ..score import QFMScore
from ..torch_defaults import no_autocast
from .frames import Frames
from .frames import VideoError as VideoError

LOWEST = 0.1  # of the frames
Take = Callable[[Row, Pixels], object]


@dataclass(frozen=True)
class VideoScore:
    """What the frames of a film come to.

    Attributes:
        rows: Of each frame that was taken, in order; `path` is that of the film with the time behind it:
            `clip.mp4#t=1.500`.
        times: Seconds of each from the first frame of the film.
        damaged: Packets and frames that could not be decoded, and one more if the file lacks its end.
    """

    rows: Sequence[Row]
    times: Sequence[float]
    damaged: int = 0
    scores: Sequence[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", [row.score for row in self.rows])

    @property
    def mean(self) -> float:
        """Mean score of the frames."""
        return float(np.mean(self.scores))

    @property
    def lowest_tenth(self) -> float:
        """Mean score of the worst tenth of the frames, of one at least."""
        return float(np.sort(self.scores)[: max(1, round(LOWEST * len(self.scores)))].mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the frames' scores."""
        return float(np.std(self.scores))

    @property
    def best(self) -> int:
        """The place in `rows` of the frame with the highest score, the first of several."""
        return int(np.argmax(self.scores))


def score_video(
    path: str | os.PathLike[str],
    metric: Metric | None = None,
    *,
    fps: float = 1.0,
    take: Take | None = None,
) -> VideoScore:
    """Score frames of a film; needs PyAV (`pip install "qfm-metric[video]"`).

    The first frame of each scene is taken, and from there on one every 1 / fps seconds. Frames are decoded and scored
    one at a time: memory does not grow with the film but for its rows.

    Args:
        path: A file, any film that FFmpeg reads.
        metric: Scores, on the device where it is. Default: `QFMScore()`.
        fps: Frames a second; beyond the film's own rate all are taken.
        take: Called with each row and the frame's pixels, `(H, W, 3)` uint8, upright and sRGB.

    Raises:
        VideoError: (an `ImageError`) it is no film, or not one frame of it can be decoded.
        ValueError: `fps` is out of range.
        TypeError: `fps` is no number, or the metric none.
        ImportError: PyAV is missing.

    Examples:
        >>> score_video("clip.mp4").mean  # doctest: +SKIP
        0.6213
    """
    frames = Frames(path, fps)
    metric = QFMScore() if metric is None else metric
    check_is_metric(metric)
    rows: list[Row] = []
    times: list[float] = []
    for row, time, pixels in score_frames(frames, metric):
        rows.append(row)
        times.append(time)
        if take:
            take(row, pixels)
    return VideoScore(rows, times, frames.damaged)


def score_frames(frames: Frames, metric: Metric) -> Iterator[tuple[Row, float, Pixels]]:
    """Rows, times and pixels of a film's frames, as they come. The errors are those of `score_video`."""
    for frame in frames:
        name = f"{frames.path}#t={frame.time:.3f}"
        with naming(name), errors_of(metric), torch.inference_mode(), no_autocast(metric.device):
            rating = metric.rate([metric.look(frame.pixels)])[0]
            height, width = frame.pixels.shape[:2]
            row = Row(name, rating.score, rating.std, width, height, note=frame.note or rating.note)
        yield row, frame.time, frame.pixels
