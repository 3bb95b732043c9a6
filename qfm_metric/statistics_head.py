"""Layers that read the mean and the spread over each view: what a picture scores, and what each defect costs. Ours."""

from torch import nn

from .cells import Standardize

DROPOUT = 0.4
MOST = 8.0  # deviations; what no photograph comes near says nothing of how much


def statistics_head(seen: int, width: int, answers: int) -> nn.Sequential:
    """`(N, seen)` of `QFMNet.statistics` to logits `(N, answers)`.

    Not linear: too little contrast or colour is no straight line in what views look like.
    """
    standardize = Standardize(seen), nn.Hardtanh(-MOST, MOST)
    hidden = nn.Dropout(DROPOUT), nn.Linear(seen, width), nn.GELU(), nn.Dropout(DROPOUT)
    return nn.Sequential(*standardize, *hidden, nn.Linear(width, answers))
