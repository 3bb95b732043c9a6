"""What is named on photographs that nobody distorted, beside what an observer saw: for docs/defects.md."""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qfm_metric import QFMScore
from qfm_metric.defects import NAMED
from qfm_metric.train import defects_check
from qfm_metric.train.datasets.table import Decoded

TABLE = Path(__file__).parent / "results" / "looked_at.csv"  # which photographs, and what was seen; ours
NONE = "none"
ALIKE = ({"blur", "motion_blur", "smeared", "upscaled"}, {"dark", "bright", "contrast"}, {"noise", "specks"})


class Look(NamedTuple):
    """A photograph's file name, the main defect that was seen, and another one or nothing."""

    image: str
    seen: str
    second: str


def read(path: Path = TABLE) -> list[Look]:
    """All that was looked at."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Look(row["image"], row["seen"], row["second"]) for row in csv.DictReader(file)]


def name(looks: Sequence[Look], data: Path, metric: QFMScore, workers: int) -> NDArray[np.floating[Any]]:
    """What each defect costs each photograph, `(N, K)`."""
    decoded = Decoded.open(data / "decoded")
    place = {Path(row.image).name: i for i, row in enumerate(decoded.rows)}

    def picture(number: int) -> NDArray[np.uint8]:
        return np.array(decoded.pixels[place[looks[number].image]])

    return defects_check.ask(metric, picture, len(looks), workers)[..., 0]


def agreement(looks: Sequence[Look], costs: NDArray[np.floating[Any]], names: Sequence[str]) -> str:
    """What was seen beside what costs most, in two tables."""
    ranked = [[names[k] for k in order] for order in np.argsort(-costs, axis=1)]
    named = [order[0] if cost >= NAMED else NONE for order, cost in zip(ranked, costs.max(axis=1), strict=True)]
    sound = [named[i] for i, look in enumerate(looks) if look.seen == NONE]
    flawed = [i for i, look in enumerate(looks) if look.seen != NONE]
    told = [i for i in flawed if named[i] != NONE]
    like = [any({looks[i].seen, named[i]} <= group for group in ALIKE) for i in told]
    near = sum(named[i] in looks[i][1:] or alike for i, alike in zip(told, like, strict=True))
    counts = {
        "the same, none included": (sum(named[i] == look.seen for i, look in enumerate(looks)), len(looks)),
        "nothing seen, and nothing named": (sound.count(NONE), len(sound)),
        "something seen, and something named": (len(told), len(flawed)),
        "something seen: the same costs most": (sum(named[i] == looks[i].seen for i in flawed), len(flawed)),
        "... it costs most or second most": (sum(looks[i].seen in ranked[i][:2] for i in told), len(flawed)),
        "... what costs most is what was seen first or second, or like the first": (near, len(flawed)),
    }
    lines = ["| | |", "|---|--:|", *(f"| {text} | {right} of {of} |" for text, (right, of) in counts.items()), ""]
    lines += ["| seen | pictures | named |", "|---|--:|---|"]
    seen = Counter(look.seen for look in looks).most_common()
    for first, count in sorted(seen, key=lambda each: each[0] == NONE):
        found = Counter(named[i] for i, look in enumerate(looks) if look.seen == first).most_common()
        lines.append(f"| {first} | {count} | {', '.join(f'{other} {times}' for other, times in found)} |")
    return "\n".join(lines) + "\n"


def of_default(args: argparse.Namespace) -> str:
    """Which weights, and `agreement` with them."""
    metric, looks = QFMScore.from_pretrained(), read()
    costs = name(looks, args.data, metric, args.workers)
    return f"`{metric.weights_id}`:\n\n{agreement(looks, costs, metric.defects)}"
