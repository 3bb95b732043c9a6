"""What is wrong with a picture: the names that a network is taught to tell, what people see of each, and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DEFECTS = {
    "blur": "Edges and fine detail are soft all over, as out of focus.",
    "motion_blur": "Everything is drawn out along one direction, as when the camera or the scene moved.",
    "smeared": "Fine texture is wiped away while strong edges stay, as by too much denoising or a beauty filter.",
    "noise": "Grain or static lies over the picture, grey or coloured.",
    "specks": "Single pixels are far too bright, too dark or of another colour.",
    "compression": "Blocks, ringing at edges and lost detail, as JPEG and its kin leave them at small file sizes.",
    "blocks": "Squares are coarse, misplaced or of one colour: big pixels, wrong patches, lost pieces.",
    "dark": "The picture is too dark, and detail in its shadows is lost.",
    "bright": "The picture is too bright, and detail in its lights is lost.",
    "contrast": "Light and dark are too near to each other, or too far apart.",
    "colour": "Colours are wrong: a cast, too pale, too strong, bleeding or inverted.",
    "fringes": "Coloured seams lie along edges, because the colour planes do not fit together.",
    "oversharpened": "Edges have halos and texture is harsh, as after too much sharpening.",
    "upscaled": "The picture was enlarged from fewer pixels: larger than its detail.",
    "banding": "Smooth shades break into steps, because there are too few tones or colours.",
    "warped": "Shapes are bent, wavy or jittered.",
}
NAMES = tuple(DEFECTS)

ADJECTIVES = {
    "blur": "blurred",
    "motion_blur": "blurred by motion",
    "smeared": "smeared",
    "noise": "noisy",
    "specks": "speckled",
    "compression": "compressed",
    "blocks": "blocky",
    "dark": "dark",
    "bright": "overexposed",
    "contrast": "wrong in contrast",
    "colour": "wrong in colour",
    "fringes": "fringed",
    "oversharpened": "oversharpened",
    "upscaled": "upscaled",
    "banding": "banded",
    "warped": "warped",
}
NAMED = 0.15  # share of the quality that a defect must cost to be called the picture's; people mind less hardly
ADDED = 0.1  # that another must cost to be named beside it
OTHERS = 2  # are named beside it at most


@dataclass(frozen=True, eq=False)
class Defects:
    """What each named defect costs N pictures.

    Attributes:
        names: K names, of `NAMES`; `DEFECTS` says what people see of each.
        severity: `(N, K)` in [0, 1], the share of the quality that the defect takes: 0 nothing, 1 all there is.
        std: `(N, K)`, the expected standard deviation of that figure.
        maps: `(N, K, h, w)`, the same of pictures that are everywhere like one place, see `Assessment.quality_map`; for
            a list of images a list of `(K, h, w)`.
    """

    names: tuple[str, ...]
    severity: "Tensor"
    std: "Tensor"
    maps: "Tensor | list[Tensor]"

    def top(self) -> list[str]:
        """Per picture, the name of what costs most; empty where nothing costs `NAMED` or more."""
        return [top_defect(dict(zip(self.names, costs, strict=True))) for costs in self.severity.tolist()]

    def sentences(self) -> list[str]:
        """Per picture, what is wrong in words: `mostly noisy (0.31 +- 0.08), somewhat dark`."""
        return [
            sentence(dict(zip(self.names, costs, strict=True)), dict(zip(self.names, stds, strict=True)))
            for costs, stds in zip(self.severity.tolist(), self.std.tolist(), strict=True)
        ]


def top_defect(costs: Mapping[str, float]) -> str:
    """The name of what costs most; empty where nothing costs `NAMED` or more."""
    name = max(costs, key=lambda name: costs[name])
    return name if costs[name] >= NAMED else ""


def sentence(costs: dict[str, float], stds: dict[str, float]) -> str:
    """What is wrong with one picture, from what each defect costs and how sure that is.

    Examples:
        >>> sentence({"noise": 0.31, "dark": 0.12, "blur": 0.02}, {"noise": 0.08, "dark": 0.05, "blur": 0.03})
        'mostly noisy (0.31 +- 0.08), somewhat dark'
        >>> sentence({"noise": 0.05}, {"noise": 0.03})
        'nothing stands out'
    """
    first, *others = sorted(costs, key=lambda name: -costs[name])
    if costs[first] < NAMED:
        return "nothing stands out"
    more = [f", somewhat {ADJECTIVES[name]}" for name in others[:OTHERS] if costs[name] >= ADDED]
    return f"mostly {ADJECTIVES[first]} ({costs[first]:.2f} +- {stds[first]:.2f})" + "".join(more)
