"""The plan: a CSV file with a row a picture and what is to become of it, made to be edited."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import whole_file
from ..folder.file_names import name_bytes
from ..folder.formats import CutOffError, csv_line, csv_row, read_csv
from ..folder.journal import check_is_file
from ..folder.row import GROUP_COLUMNS, Row, read_row
from ..own_files import is_plan
from .decide import Decide, Decision

COLUMNS = ("decision", "path", "score", "std", "why", "width", "height", "error", "note", "name")


class PlanError(ValueError):
    """A file is no plan; says which row, and what was expected."""


@dataclass(frozen=True)
class Planned:
    """One picture of a plan.

    Attributes:
        row: The picture and its score.
        decision: What is to become of it.
        why: The reason, for people.
        name: Where it goes below the folder of its decision: its path from the folder that was culled on.
    """

    row: Row
    decision: Decision
    why: str
    name: str


def make_plan(rows: Iterable[Row], decide: Decide, base: str) -> Iterator[Planned]:
    """Decide about rows as they come.

    Args:
        rows: Of pictures, scored or with an error.
        decide: By a preset or a requirement.
        base: Folder that the names count from.
    """
    for row in rows:
        decision, why = decide(row)
        yield Planned(row, decision, why, _name_below(row.path, base))


def _name_below(path: str, base: str) -> str:
    """A path from a folder on; what is not inside keeps its last part alone."""
    try:
        name = os.path.relpath(path, base or os.curdir)
    except ValueError:  # another drive of Windows
        return os.path.basename(path)
    return os.path.basename(path) if name.split(os.sep)[0] == os.pardir or os.path.isabs(name) else name


def write_plan(plan: Iterable[Planned], path: str | os.PathLike[str]) -> None:
    """Write a plan; names of files that are no text are kept as they are.

    Raises:
        OSError: it cannot be written there.
    """
    plan = list(plan)
    grouped = any("group" in planned.row.extra for planned in plan)
    columns = (*COLUMNS, *GROUP_COLUMNS) if grouped else COLUMNS
    with whole_file(path, "wb", is_ours=is_plan) as file:
        file.write(csv_line(columns).encode())
        for planned in plan:
            extra = {"decision": planned.decision.value, "why": planned.why, "name": planned.name}
            line = csv_row(replace(planned.row, extra={**planned.row.extra, **extra}), columns)
            file.write(name_bytes(line))


def read_plan(path: str | os.PathLike[str]) -> list[Planned]:
    """Read a plan, as it was written or as a person or a spreadsheet has left it.

    Raises:
        PlanError: it cannot be read, a row lacks what it needs or has an unknown decision, or a picture is in it twice.
    """
    found: list[Planned] = []
    paths: set[str] = set()
    try:
        check_is_file(path)
        file = Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise PlanError(f"{path}: expected a plan of qfm-metric cull: {error.strerror}") from error
    with file:
        try:
            for _, values in read_csv(file):
                if values is None:
                    continue
                planned = _read(values)
                if os.path.abspath(planned.row.path) in paths:
                    raise ValueError(f"expected each picture once, got {planned.row.path} again")
                paths.add(os.path.abspath(planned.row.path))
                found.append(planned)
        except KeyError as error:
            raise PlanError(f"{path}: row {len(found) + 1}: expected the column {error}") from error
        except (CutOffError, TypeError, ValueError) as error:
            raise PlanError(f"{path}: row {len(found) + 1}: {error}") from error
    return found


def _read(values: dict[str, str]) -> Planned:
    row, decision, name = read_row(values), values["decision"].strip().lower(), values["name"]
    if decision not in {known.value for known in Decision}:
        raise ValueError(f"expected a decision of keep, look or reject, got {decision!r}")
    parts = Path(name).parts
    if not parts or os.pardir in parts or Path(name).is_absolute():
        raise ValueError(f"expected a name inside the folder of its decision, got {name!r}")
    return Planned(row, Decision(decision), values.get("why") or "", name)
