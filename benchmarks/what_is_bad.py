"""What is measured of the default weights for two pages of docs/, between marks: thresholds, and names of defects."""

import argparse
from pathlib import Path
from typing import Any

import looked_at

from qfm_metric.train import defects_check, evaluate, thresholds

THRESHOLDS, DEFECTS = "docs/thresholds.md", "docs/defects.md"
SEEN = f"{defects_check.SEEN:.2f}".removeprefix("0")
FIGURES = {
    "top1": f"levels that cost people {SEEN} or more: the right name costs most, mean over types",
    "top2": "it costs most or second most",
    "order": "levels of one type are ordered as people order them",
    "false_alarms": f"undistorted good photographs with a false alarm, any cost above {SEEN}",
    "both": "pairs of two distortions of which the sentence names both",
    "within": "the cost that people saw lies within one deviation",
}


def write_thresholds(page: Path, args: argparse.Namespace) -> None:
    """Precision and recall on BIQ2021's validation part."""
    found = evaluate.evaluate(args.data / "all.csv").figures
    table = thresholds.markdown(found["thresholds"])
    _replace(page, "thresholds", f"`{found['weights']}`, BIQ2021's validation part:\n\n{table}")


def write_defects(page: Path, args: argparse.Namespace) -> None:
    """How right the named defects are, on held-out photographs."""
    found = defects_check.check(args.severity, args.data, workers=args.workers)
    _replace(page, "defects", of_defects(found))


def write_looked_at(page: Path, args: argparse.Namespace) -> None:
    """What is named on photographs that somebody looked at."""
    _replace(page, "looked at", looked_at.of_default(args))


def of_defects(found: dict[str, Any]) -> str:
    """What `defects_check.check` found, in tables."""
    head = f"`{found['weights']}`, {found['pictures']} photographs:\n\n| | |\n|---|--:|\n"
    rows = "".join(f"| {text} | {f'{found[name]:.2f}'.removeprefix('0')} |\n" for name, text in FIGURES.items())
    return f"{head}{rows}\n{defects_check.markdown(found)}"


def replace_part(text: str, name: str, part: str) -> str:
    """Put other lines between the marks `<!-- made: NAME -->` and `<!-- end: NAME -->`.

    Raises:
        ValueError: they are not there, or several times.
    """
    first, last = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->\n"
    before, *rest = text.split(first)
    _, *after = rest[0].split(last) if rest else [""]
    if len(rest) != 1 or len(after) != 1:
        raise ValueError(f"expected one part from {first.strip()} to {last.strip()}")
    return f"{before}{first}{part}{last}{after[0]}"


def _replace(page: Path, name: str, part: str) -> None:
    page.write_text(replace_part(page.read_text(encoding="utf-8"), name, part), encoding="utf-8")
