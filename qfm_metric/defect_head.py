"""The layers that tell what each named defect costs, from the views' mean tokens or from the cells themselves. Ours."""

from torch import nn

from .cells import Standardize
from .config import QFMConfig

DROPOUT = 0.4
MOST = 8.0  # deviations; what no photograph comes near says nothing of how much


def defect_head(config: QFMConfig, channels: int, views: int) -> nn.Sequential:
    """What is known of `views` views, `(N, F)`, to logits of costs and deviations, `(N, 2K)`.

    Too little contrast or colour is no straight line in what views look like.
    """
    answers = 2 * len(config.defects)
    if not config.defect_width:
        return nn.Sequential(nn.Linear(views * config.dim, config.dim), nn.GELU(), nn.Linear(config.dim, answers))
    seen, width = 2 * views * channels, config.defect_width
    standardize = Standardize(seen), nn.Hardtanh(-MOST, MOST)
    hidden = nn.Dropout(DROPOUT), nn.Linear(seen, width), nn.GELU(), nn.Dropout(DROPOUT)
    return nn.Sequential(*standardize, *hidden, nn.Linear(width, answers))
