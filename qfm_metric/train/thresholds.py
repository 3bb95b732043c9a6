"""Would people call it bad? What scores below a threshold, held against what people rated below a mark."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ..cull.decide import PRESETS
from ..scale import BANDS, QUANTILES
from .agreement import Scores

# Below the first and the last people rated a tenth and a quarter of BIQ2021's training photographs; below the second
# are the words bad and poor.
BAD: dict[str, float] = {
    "worst tenth": QUANTILES[10],
    "bad or poor": dict(BANDS)["poor"],
    "worst quarter": QUANTILES[25],
}
PRESET_AT = {look: name for name, (look, _) in PRESETS.items()}  # by the score below which it rejects
THRESHOLDS = tuple(sorted({0.3, 0.4, 0.5, *PRESET_AT}))


def figures(scores: Scores, mos: Scores) -> list[dict[str, Any]]:
    """Precision and recall of rejecting what scores below each of `THRESHOLDS`.

    Args:
        scores, mos: `(N,)`, in [0, 1].

    Returns:
        Per threshold: `below`, the threshold; `rejected`, how many pictures score less; `of`, N; and per name of `BAD`
        a mapping of `mos`, below which a picture is bad, `bad`, how many are, `right`, how many of these are rejected,
        `precision` = right / rejected and `recall` = right / bad. These two are `[value, low, high]`, with Wilson's
        interval of 95 % for pictures that have nothing to do with each other; None of no pictures.

    Raises:
        ValueError: lengths differ.
    """
    scores, mos = np.asarray(scores, dtype=float), np.asarray(mos, dtype=float)
    if scores.shape != mos.shape or scores.ndim != 1:
        raise ValueError(f"expected two (N,) arrays, got {scores.shape} and {mos.shape}")
    found: list[dict[str, Any]] = []
    for threshold in THRESHOLDS:
        rejected = scores < threshold
        row: dict[str, Any] = {"below": threshold, "rejected": int(rejected.sum()), "of": len(scores)}
        for name, mark in BAD.items():
            bad = mos < mark
            right = int((rejected & bad).sum())
            row[name] = {
                "mos": mark,
                "bad": int(bad.sum()),
                "right": right,
                "precision": _share(right, row["rejected"]),
                "recall": _share(right, int(bad.sum())),
            }
        found.append(row)
    return found


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """A row per threshold: what is rejected, and precision and recall by what is called bad."""
    marks = [f"{name}: MOS below {_short(x['mos'], 3)}, {x['bad']:,}" for name, x in _by_name(found[0])]
    rows = [["score below", f"rejected, of {found[0]['of']:,}", *marks], ["---", "--:", *["---"] * len(marks)]]
    for row in found:
        preset = PRESET_AT.get(row["below"])
        limit = _short(row["below"], 1) + (f" (`--keep {preset}`)" if preset else "")
        cells = [f"{_interval(x['precision'])}; {_interval(x['recall'])}" for _, x in _by_name(row)]
        rows.append([limit, f"{row['rejected']:,}", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _by_name(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, row[name]) for name in BAD]


def _share(part: int, of: int) -> list[float] | None:
    if of == 0:
        return None
    low, high = binomtest(part, of).proportion_ci(method="wilson")
    return [part / of, float(low), float(high)]


def _interval(share: Sequence[float] | None) -> str:
    if share is None:
        return "-"
    value, low, high = (_short(x, 2) for x in share)
    return f"{value} ({low} to {high})"


def _short(value: float, digits: int) -> str:
    """As in the documents: .40, 1.00."""
    return f"{value:.{digits}f}".removeprefix("0")
