"""Compare two sets of scores: paired by name where names match, else all with all."""

import math
import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

TIE = 5e-5  # closer is equal: files of scores have four decimals, and the fifth differs between machines
NORMAL = 1.959964  # 97.5 % of a normal distribution lie below so many deviations


@dataclass(frozen=True)
class Pair:
    """One picture in A and in B, and both scores."""

    name_a: str
    name_b: str
    a: float
    b: float

    @property
    def difference(self) -> float:
        """B's score less A's."""
        return self.b - self.a

    @property
    def winner(self) -> str:
        """`A`, `B`, or `` for a tie."""
        return "" if abs(self.difference) <= TIE else "B" if self.difference > 0 else "A"


@dataclass(frozen=True)
class Comparison:
    """What `compare_scores` found. Differences are B - A: above 0 if B is better. None: there is nothing to compare.

    Attributes:
        paired: Whether pairs were compared; else all of A with all of B.
        count_a: How many scores of A were compared; `count_b` of B: as many, if paired.
        mean_a: Their mean; `mean_b` of B.
        difference: `mean_b - mean_a`.
        interval: 95 % interval of `difference`, that of the percentile bootstrap; None from a single score or pair,
            which shows no spread.
        win_rate: Share of the pairs in which B is better (of all combinations if not paired); ties count half.
        pairs: Pairs with two scores, those that differ most first; empty if not paired.
        failed_a: Names without score, left out; `failed_b` of B.
        unmatched_a: Names without partner, left out; `unmatched_b` of B; empty if not paired.
    """

    paired: bool
    count_a: int
    count_b: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    win_rate: float | None
    failed_a: list[str]
    failed_b: list[str]
    pairs: list[Pair] = field(default_factory=list)
    unmatched_a: list[str] = field(default_factory=list)
    unmatched_b: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "no difference shown"
        return "B is better" if self.interval[0] > 0 else "A is better"


def compare_scores(a: Mapping[str, float | None], b: Mapping[str, float | None], *, pair: bool = True) -> Comparison:
    """Compare the scores of two sets of pictures.

    Args:
        a: Name to score in [0, 1], or to None or NaN for a picture that could not be scored. A name may have folders.
        b: As `a`.
        pair: Compare pairs if any names match (see `match_names`); False: all with all.

    Raises:
        TypeError: no names with numbers.

    Examples:
        >>> compare_scores({"x.png": 0.4, "y.png": 0.5}, {"x.jpg": 0.6, "y.jpg": 0.7}).win_rate
        1.0
    """
    a, b = _scores("a", a), _scores("b", b)
    failed_a, failed_b = ([name for name, score in side.items() if score is None] for side in (a, b))
    if not (pair and (matched := match_names(list(a), list(b)))):
        scores_a, scores_b = ([score for score in side.values() if score is not None] for side in (a, b))
        interval = _interval(scores_b, [-score for score in scores_a])
        return Comparison(
            False, *_summary(scores_a, scores_b), interval, _superiority(scores_a, scores_b), failed_a, failed_b
        )
    pairs = [
        Pair(name_a, name_b, score_a, score_b)
        for name_a, name_b in matched
        if (score_a := a[name_a]) is not None and (score_b := b[name_b]) is not None
    ]
    pairs.sort(key=lambda pair: (-abs(pair.difference), pair.name_a))
    points = {"A": 0.0, "": 0.5, "B": 1.0}
    in_a, in_b = ({names[side] for names in matched} for side in (0, 1))
    return Comparison(
        True,
        *_summary([pair.a for pair in pairs], [pair.b for pair in pairs]),
        interval=_interval([pair.difference for pair in pairs]),
        win_rate=_mean([points[pair.winner] for pair in pairs]) if pairs else None,
        failed_a=failed_a,
        failed_b=failed_b,
        pairs=pairs,
        unmatched_a=[name for name in a if name not in in_a],
        unmatched_b=[name for name in b if name not in in_b],
    )


def _scores(side: str, scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """The scores of a side as they are compared: what is NaN, as in a table of pandas, could not be scored."""
    if not isinstance(scores, Mapping):
        raise TypeError(f"{side}: expected names with their scores, as in a dict, got {type(scores).__name__}")
    for name, score in scores.items():
        if not isinstance(score, Real | None):
            raise TypeError(f"{side}: expected a score or None for {name!r}, got {type(score).__name__}")
    return {name: None if score is None or score != score else float(score) for name, score in scores.items()}


def match_names(a: Sequence[str], b: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that are equal or, among the rest, equal without suffix and the only ones so on their side.

    Folders in the names count. The order is that of `a`.
    """
    equal = set(a) & set(b)

    def stems(names: Sequence[str]) -> dict[str, str]:
        found = [(os.path.splitext(name)[0], name) for name in names if name not in equal]
        count = Counter(stem for stem, _ in found)
        return {stem: name for stem, name in found if count[stem] == 1}

    stems_b = stems(b)
    partner = {name: stems_b[stem] for stem, name in stems(a).items() if stem in stems_b} | {
        name: name for name in equal
    }
    return [(name, partner[name]) for name in a if name in partner]


def _summary(a: Sequence[float], b: Sequence[float]) -> tuple[int, int, float | None, float | None, float | None]:
    """Counts, means and difference, as `Comparison` has them."""
    mean_a, mean_b = (_mean(side) if side else None for side in (a, b))
    difference = None if mean_a is None or mean_b is None else mean_b - mean_a
    return len(a), len(b), mean_a, mean_b, difference


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _interval(*samples: Sequence[float]) -> tuple[float, float] | None:
    """The middle 95 % of the sum of the samples' means, were each drawn again; None unless each has two values.

    This is the percentile bootstrap without drawing: the cumulants of a resampled mean are known, and its quantiles
    follow from the first four (Cornish and Fisher 1938). From 20 values on that is nearer to endless resamples than
    4,000 are, and it costs no numpy, which takes longer to import than all of `qfm-metric compare`.
    """
    if min(map(len, samples)) < 2:
        return None
    variance = third = fourth = 0.0
    for values in samples:
        count, mean = len(values), _mean(values)
        moments = [math.fsum((value - mean) ** power for value in values) / count for power in (2, 3, 4)]
        variance += moments[0] / count
        third += moments[1] / count**2
        fourth += (moments[2] - 3 * moments[0] ** 2) / count**3
    centre = sum(map(_mean, samples))
    if not variance:
        return centre, centre
    deviation = math.sqrt(variance)
    skew, excess = third / deviation**3, fourth / variance**2

    def quantile(z: float) -> float:
        moved = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
        # Of a few values the tails reach too far.
        return min(max(centre + deviation * moved, sum(map(min, samples))), sum(map(max, samples)))

    return quantile(-NORMAL), quantile(NORMAL)


def _superiority(a: Sequence[float], b: Sequence[float]) -> float | None:
    """The share of all combinations in which B is higher, ties half: the Mann-Whitney statistic over its maximum."""
    if not a or not b:
        return None
    ordered = sorted(a)
    below = sum(bisect_left(ordered, score - TIE) + bisect_right(ordered, score + TIE) for score in b)
    return below / (2 * len(a) * len(b))
