"""What is asked of a picture in words such as `score >= .5, std < .1`: read from text, and checked against values."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(r"\s*(?P<column>[^\W\d]\w*)\s*(?P<comparison>>=|<=|>|<)\s*(?P<limit>[^\s<>=]+)\s*")


class RequirementError(ValueError):
    """The text asks for nothing that can be checked; says what was expected."""


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a number.

    Attributes:
        column: What is compared.
        comparison: A key of `COMPARISONS`.
        limit: With what.
    """

    column: str
    comparison: str
    limit: float

    def __str__(self) -> str:
        return f"{self.column} {self.comparison} {self.limit:g}"

    def holds(self, value: object) -> bool | None:
        """Whether a value of the column is as asked for; None: it is not known, because it is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return None
        return COMPARISONS[self.comparison](value, self.limit)


@dataclass(frozen=True)
class Verdict:
    """What came of a check; everything is met if both are empty.

    Attributes:
        unmet: Conditions that do not hold.
        unknown: Conditions on values that are not known.
    """

    unmet: tuple[Condition, ...]
    unknown: tuple[Condition, ...]


@dataclass(frozen=True)
class Requirement:
    """Conditions that must hold together."""

    conditions: tuple[Condition, ...]

    def check(self, value: Callable[[str], object]) -> Verdict:
        """Check every condition.

        Args:
            value: Of a column, such as `Row.value`.
        """
        held = [(condition, condition.holds(value(condition.column))) for condition in self.conditions]
        return Verdict(
            tuple(condition for condition, holds in held if holds is False),
            tuple(condition for condition, holds in held if holds is None),
        )

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are asked about."""
        return frozenset(condition.column for condition in self.conditions)


def parse_requirement(text: str, columns: Iterable[str]) -> Requirement:
    """Read conditions from text.

    Args:
        text: `COLUMN COMPARISON NUMBER`, several parted by commas. Comparisons are >=, <=, > and <.
        columns: Names that may be asked about.

    Raises:
        RequirementError: a part is no condition, a column is none of these, a limit is no finite number.

    Examples:
        >>> [str(condition) for condition in parse_requirement("score >= .5, std<.1", ["score", "std"]).conditions]
        ['score >= 0.5', 'std < 0.1']
    """
    names = sorted(columns)
    return Requirement(tuple(_parse_condition(part, names) for part in text.split(",")))


def _parse_condition(text: str, columns: list[str]) -> Condition:
    found = CONDITION.fullmatch(text)
    if found is None:
        raise RequirementError(
            f"expected conditions such as `score >= .5`, parted by commas, got {text.strip()!r}; "
            f"comparisons are {', '.join(COMPARISONS)}"
        )
    column, comparison, limit = found["column"], found["comparison"], found["limit"]
    if column not in columns:
        raise RequirementError(f"expected one of {', '.join(columns)}, got {column!r}")
    try:
        number = float(limit)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise RequirementError(f"expected a number behind `{column} {comparison}`, got {limit!r}")
    return Condition(column, comparison, number)
