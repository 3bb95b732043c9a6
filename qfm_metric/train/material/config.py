"""How much of what is drawn: `MaterialConfig`."""

from dataclasses import dataclass, field

from ..datasets.table import DataError
from ..defects import OWN


@dataclass(frozen=True)
class MaterialConfig:
    """How much of what is drawn. Shares are probabilities, in [0, 1].

    Attributes:
        pixels: Of all views of a step, per process: what it takes in time and memory. A step has its fewest photographs
            and a series in any case, which for the largest views is up to a fifth more.
        fewest_photos, most_photos: A step, per process.
        fewest_joint: A step of two views a picture, per process: pictures of one source are compared with each other.
        series: Share of the pictures that are series, of four each.
        most_series: A step, per process.
        subsets: How often photographs are drawn from each subset of the data set, and no picture of any other; empty:
            all alike. Within a subset rare MOS are drawn more often: by the square root of how rare they are.
        without: Types of distortion ("KADID-10k/10") of which no ladder is drawn, nor its stored cells.
        clean_mos: A picture this good is worth degrading.
        small_weight: Of a photograph's view that shows hardly any of it; that of the whole is 1. MOS are of whole
            pictures: what a part of it would be given is less sure.
        whole_photos, whole_letterboxed, whole_series: Share of views that show as much of the picture as their shape
            allows; of the others, the scale is drawn.
        stretch: Standard deviation of the logarithm of how much a view is stretched.
        letterbox: Share of the photographs that get bars.
        black: Share of the bars that are black; the others are of some grey.
        recompressed: Share of the photographs that become a JPEG file once more, at a quality of 88 to 98.
        grey: Share of photographs, and of series without a defect of colour, that become grey.
        ladders: Share of the series that are pre-rendered distortions of KADID-10k and TID2013; the others are `own`.
        own: Share of each own kind of series (`qfm_metric.train.defects.OWN`); together 1.
        composed: Share of the series that get another distortion over some of their pictures.
        shifted: Share of the series whose versions lie a few pixels beside the clean picture (`series.MOST_SHIFTED`).
        large: In draws of whole and detail, share of the series that are large pictures without the detail for it.
        small_joint: In those draws, share of the steps with small views, whose details are of larger pictures.
        ratio: In those draws, largest ratio of the picture's sides to those of its views.
    """

    pixels: float = 1.5e6
    fewest_photos: int = 8
    fewest_joint: int = 6
    most_photos: int = 24
    series: float = 0.1
    most_series: int = 5
    subsets: dict[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    clean_mos: float = 0.65
    small_weight: float = 0.3
    whole_photos: float = 0.5
    whole_letterboxed: float = 0.8
    whole_series: float = 0.4
    stretch: float = 0.07
    letterbox: float = 0.05
    black: float = 0.7
    recompressed: float = 0.08
    grey: float = 0.12
    ladders: float = 0.62
    own: dict[str, float] = field(
        default_factory=lambda: {
            "enlarged": 0.28,
            "sharpened": 0.12,
            "exposure": 0.2,
            "cast": 0.1,
            "smear": 0.08,
            "warp": 0.08,
            "grain": 0.06,
            "nothing": 0.08,
        }
    )
    composed: float = 0.0
    shifted: float = 0.0
    large: float = 0.15
    small_joint: float = 0.3
    ratio: float = 3.4

    def __post_init__(self) -> None:
        if unknown := set(self.own) - set(OWN):
            raise DataError(f"own: unknown kinds of series {', '.join(sorted(unknown))}; known: {', '.join(OWN)}")
        for name in ("own", "subsets"):
            shares = getattr(self, name)
            if shares and abs(sum(shares.values()) - 1) > 1e-6:
                raise DataError(f"{name}: expected shares whose sum is 1, got {shares}")
