"""Compare two sets of scores: paired by name where names match, else all with all."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]

TIE = 5e-5  # closer is equal: files of scores have four decimals, and the fifth differs between machines
RESAMPLES = 4000  # of the bootstrap
_EXACT = 5000  # more values are rounded to four decimals for the bootstrap, so that its cost stays bounded
_CELLS = 4_000_000  # of its counts in memory at a time


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
        interval: Bootstrap 95 % interval of `difference`; None from a single score or pair, which shows no spread.
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


def compare_scores(
    a: Mapping[str, float | None], b: Mapping[str, float | None], *, pair: bool = True, seed: int = 0
) -> Comparison:
    """Compare the scores of two sets of pictures.

    Args:
        a: Name to score in [0, 1], or to None for a picture that could not be scored. A name may have folders.
        b: As `a`.
        pair: Compare pairs if any names match (see `match_names`); False: all with all.
        seed: Of the bootstrap, 0 or more.

    Raises:
        ValueError: a negative seed.

    Examples:
        >>> compare_scores({"x.png": 0.4, "y.png": 0.5}, {"x.jpg": 0.6, "y.jpg": 0.7}).win_rate
        1.0
    """
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, got {seed}")
    failed_a, failed_b = ([name for name, score in side.items() if score is None] for side in (a, b))
    random = np.random.default_rng(seed)
    if not (pair and (matched := match_names(list(a), list(b)))):
        scores_a, scores_b = (np.array([s for s in side.values() if s is not None], np.float64) for side in (a, b))
        spread = None
        if min(len(scores_a), len(scores_b)) > 1:
            spread = _bootstrap_means(scores_b, random) - _bootstrap_means(scores_a, random)
        return Comparison(
            False, *_summary(scores_a, scores_b, spread), _superiority(scores_a, scores_b), failed_a, failed_b
        )
    pairs = [
        Pair(name_a, name_b, score_a, score_b)
        for name_a, name_b in matched
        if (score_a := a[name_a]) is not None and (score_b := b[name_b]) is not None
    ]
    pairs.sort(key=lambda pair: (-abs(pair.difference), pair.name_a))
    scores_a, scores_b = (np.array([getattr(pair, side) for pair in pairs], np.float64) for side in "ab")
    spread = _bootstrap_means(scores_b - scores_a, random) if len(pairs) > 1 else None
    points = {"A": 0.0, "": 0.5, "B": 1.0}
    in_a, in_b = ({names[side] for names in matched} for side in (0, 1))
    return Comparison(
        True,
        *_summary(scores_a, scores_b, spread),
        win_rate=float(np.mean([points[pair.winner] for pair in pairs])) if pairs else None,
        failed_a=failed_a,
        failed_b=failed_b,
        pairs=pairs,
        unmatched_a=[name for name in a if name not in in_a],
        unmatched_b=[name for name in b if name not in in_b],
    )


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


def _summary(
    a: Values, b: Values, spread: Values | None
) -> tuple[int, int, float | None, float | None, float | None, tuple[float, float] | None]:
    """Counts, means, difference and interval, as `Comparison` has them; `spread`: differences of resampled means."""
    mean_a, mean_b = (float(side.mean()) if len(side) else None for side in (a, b))
    difference = None if mean_a is None or mean_b is None else mean_b - mean_a
    interval = None
    if spread is not None:
        low, high = np.quantile(spread, [0.025, 0.975])
        interval = float(low), float(high)
    return len(a), len(b), mean_a, mean_b, difference, interval


def _bootstrap_means(values: Values, random: np.random.Generator) -> Values:
    """Means of resamples, `(RESAMPLES,)`: how often each value is drawn is multinomial."""
    if len(values) > _EXACT:
        values = values.round(4)
    # Around the first value, a constant stays exactly so.
    levels, counts = np.unique(values, return_counts=True)
    share = counts / len(values)
    step = max(1, _CELLS // len(levels))
    sizes = [min(step, RESAMPLES - at) for at in range(0, RESAMPLES, step)]
    drawn = [random.multinomial(len(values), share, size) @ (levels - levels[0]) for size in sizes]
    return np.asarray(levels[0] + np.concatenate(drawn) / len(values))


def _superiority(a: Values, b: Values) -> float | None:
    """The share of all combinations in which B is higher, ties half: the Mann-Whitney statistic over its maximum."""
    if not len(a) or not len(b):
        return None
    ordered = np.sort(a)
    below = np.searchsorted(ordered, b - TIE, side="left") + np.searchsorted(ordered, b + TIE, side="right")
    return float(below.mean() / 2 / len(a))
