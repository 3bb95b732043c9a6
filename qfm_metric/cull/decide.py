"""Decisions about pictures: keep, look or reject, by a preset or by what is required."""

from collections.abc import Callable
from enum import Enum
from functools import partial

from ..folder.row import DECIMALS, Row
from ..requirements import Requirement
from ..scale import BANDS


class Decision(Enum):
    """What is to become of a picture; from the best."""

    KEEP = "keep"
    LOOK = "look"
    REJECT = "reject"


Decide = Callable[[Row], tuple[Decision, str]]
"""The decision about a row, and the reason for it; "" if there is nothing to say."""

_ENDS = dict(BANDS)

# A picture is kept from the beginning of a band of `qfm_metric.scale` on, and looked at in the band before it. A band
# is .2 wide, twice the error of the default weights (RMSE .095 on BIQ2021's test part, docs/explain.md): what is
# rejected unseen is seldom a picture that people would have put into a band that is kept.
PRESETS: dict[str, tuple[float, float]] = {
    "lenient": (_ENDS["bad"], _ENDS["poor"]),
    "normal": (_ENDS["poor"], _ENDS["fair"]),
    "strict": (_ENDS["fair"], _ENDS["good"]),
}
"""By name: the score from which on a picture is looked at, and that from which on it is kept."""


def by_preset(name: str) -> Decide:
    """Decisions by the score alone, between the two of `PRESETS`."""
    return partial(_by_thresholds, *PRESETS[name])


def by_requirement(requirement: Requirement) -> Decide:
    """Keep what meets a requirement and reject what does not; what is not known is looked at."""
    return partial(_by_requirement, requirement)


def _by_thresholds(look: float, keep: float, row: Row) -> tuple[Decision, str]:
    score = row.value("score")
    if not isinstance(score, float):
        return _unscored(row)
    if score >= keep:
        return Decision.KEEP, ""
    limit, decision = (keep, Decision.LOOK) if score >= look else (look, Decision.REJECT)
    return decision, f"score {score:.{DECIMALS}f} < {limit:g}"


def _by_requirement(requirement: Requirement, row: Row) -> tuple[Decision, str]:
    if row.score is None:
        return _unscored(row)
    verdict = requirement.check(row.value)
    if verdict.unmet:
        values = [f"{condition.column} {row.value(condition.column)}, not {condition}" for condition in verdict.unmet]
        return Decision.REJECT, "; ".join(values)
    if verdict.unknown:
        return Decision.LOOK, f"not known: {', '.join(sorted({condition.column for condition in verdict.unknown}))}"
    return Decision.KEEP, ""


def _unscored(row: Row) -> tuple[Decision, str]:
    """What could not be read may be a good picture of a kind that is not known here."""
    return Decision.LOOK, row.error or "not scored"
