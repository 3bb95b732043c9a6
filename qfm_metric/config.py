"""QFMConfig: what determines a network's shape and what it looks at; stored in the header of its weights."""

import math
import re
from dataclasses import dataclass

from .geometry import SHORTEST_SIDE


@dataclass(frozen=True)
class QFMConfig:
    """Everything that determines the network's shape and its preprocessing; stored beside the weights.

    Attributes:
        backbone: One of `backbone.VARIANTS`, or a timm model name that supports `features_only`.
        depths: Indices of the feature maps that the tokens see, shallow to deep.
        view_pixels: Area budget of a view, in pixels.
        native_views: Number of native-resolution views beside the whole picture, spread along its longer side: they
            have the whole view's shape, so the cost is bounded whatever the picture's size.
        working_pixels: Area to which larger pictures are reduced before anything is looked at; the view of detail is a
            crop of that, where most is to be seen. 0: none, the pictures' own size.
        mean, std: Input normalisation that the backbone was trained with, per channel.
        dim: Token width D.
        queries: Number of learned queries Q.
        heads: Attention heads of the decoder.
        context: Width of a layer through which every token also sees its view's mean cell; 0: none.
        mixers: Layers in which tokens attend to each other before the queries do.
        mean_tokens: Each view has a token of its mean cell, too, and a second reader takes a linear map of those alone.
        spread_width: Width of a third reader, which takes the mean and the spread of the cells over each view; 0: none.
        uncertainty: Also predict how far the MOS may be from the score.
        defects: Names of defects whose cost is predicted from the views' mean cells.
        defect_width: Width of the layer that tells them from the cells themselves, by mean and spread over each view.
            0: they are told from the views' mean tokens.
        worst_defect: How much what the worst of the defects leaves counts in the score, in logits; 0: nothing.
        photograph: Also tell photographs from other pictures, by the views' mean cells.
        reference: Also say what a picture keeps of the quality of a reference, by the differences of their cells.
    """

    backbone: str = "tf_efficientnet_lite0"
    depths: tuple[int, ...] = (0, 1, 2, 3, 4)
    view_pixels: int = 384 * 384
    native_views: int = 0
    working_pixels: int = 0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    dim: int = 128
    queries: int = 6
    heads: int = 4
    context: int = 0
    mixers: int = 0
    mean_tokens: bool = False
    spread_width: int = 0
    uncertainty: bool = False
    defects: tuple[str, ...] = ()
    defect_width: int = 0
    worst_defect: float = 0.0
    photograph: bool = False
    reference: bool = False

    def __post_init__(self) -> None:
        """Refuse what a foreign weights file could ask for: downloads by name, absurd sizes, divisions by zero."""
        if not isinstance(self.backbone, str) or not re.fullmatch(r"\w+(\.\w+)?", self.backbone):
            raise ValueError(f"backbone: expected a timm model name, got {self.backbone!r}")
        bounds = {
            "view_pixels": (SHORTEST_SIDE**2, 2**24),
            "native_views": (0, 64),
            "working_pixels": (0, 2**30),
            "dim": (1, 4096),
            "queries": (1, 256),
            "heads": (1, 64),
            "context": (0, 4096),
            "mixers": (0, 64),
            "spread_width": (0, 4096),
            "defect_width": (0, 4096),
        }
        for name, (least, largest) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= largest:
                raise ValueError(f"{name}: expected an integer from {least} to {largest}, got {value!r}")
        if not _is_finite(self.worst_defect) or not 0 <= self.worst_defect <= (10 if self.defects else 0):
            raise ValueError(
                f"worst_defect: expected a number from 0 to 10, and 0 without defects, got {self.worst_defect!r}"
            )
        for name in ("mean_tokens", "uncertainty", "photograph", "reference"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name}: expected true or false, got {getattr(self, name)!r}")
        if not isinstance(self.defects, tuple) or not all(isinstance(name, str) for name in self.defects):
            raise ValueError(f"defects: expected names, got {self.defects!r}")
        if (self.defects or self.photograph or self.spread_width) and not self.mean_tokens:
            raise ValueError(
                "mean_tokens: expected true, since spread_width, defects and photograph go with them; got false"
            )
        if self.dim % self.heads:
            raise ValueError(f"heads: expected a divisor of dim {self.dim}, got {self.heads}")
        depths = self.depths
        if not isinstance(depths, tuple) or not depths or any(type(i) is not int or not 0 <= i < 64 for i in depths):
            raise ValueError(f"depths: expected indices of feature maps, got {depths!r}")
        for name, lowest in (("mean", -math.inf), ("std", 0.0)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 3 or not all(_is_finite(x) and x > lowest for x in value):
                raise ValueError(f"{name}: expected 3 finite numbers above {lowest}, got {value!r}")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
