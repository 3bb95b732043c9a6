"""Are the named defects right? Types and levels of KADID-10k and TID2013 on held-out photographs, and pairs of them.

What a defect should cost is what people said of its type and level; which name a type has is ours (`defects.OF_TYPE`).
The figures are ours.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from ..defects import ADDED, NAMED, OTHERS
from ..score import QFMScore
from ..weights import WeightsError
from .agreement import Scores
from .datasets.table import DataError, Decoded
from .defects import defect_of
from .distortions import distort
from .distortions.colour import Pixels
from .scoring import Make, each_picture
from .severity import DistortionLevel, Levels, read_severity
from .severity_check import CLEAN_MOS, clean_pictures

SEEN = 0.15  # share of the quality that people must have lost to a level for its name to be asked for
PICTURES = 12  # photographs that are distorted
APART = 0.1  # levels of a type whose costs differ by less need not be told apart


class Case(NamedTuple):
    """A version of a clean picture: its number, and the levels that it was distorted by, none to two."""

    picture: int
    levels: tuple[DistortionLevel, ...]

    def render(self, pictures: Sequence[Pixels]) -> Pixels:
        """`(H, W, 3)` uint8; the picture's number seeds the noise."""
        found = pictures[self.picture]
        for level in self.levels:
            found = distort(found, level.data_set, level.type, level.level, seed=self.picture)
        return found

    def names(self) -> list[str]:
        """What is wrong with it."""
        return [defect_of(level.data_set, level.type, level.level, self.picture) for level in self.levels]

    def cost(self) -> float:
        """What people lost to the first level, in [0, 1]."""
        return 1 - self.levels[0].quality


def check(
    table: Path,
    data: Path,
    weights: str | None = None,
    *,
    pictures: int = PICTURES,
    pairs: int = 120,
    clean: int = 100,
    floor_mos: float = CLEAN_MOS,
    only: Collection[str] = (),
    seed: int = 0,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Distort clean validation photographs and compare what the network names with what was done.

    Args:
        table: Human means (`read_severity`).
        data: What `prepare` wrote.
        weights: Id or file; None: the shipped weights.
        pictures: Photographs that are distorted by every level.
        pairs: Versions with two distortions of different names, both of which people mind.
        clean: Photographs that are left as they are.
        floor_mos, seed: Which photographs, see `clean_pictures`.
        only: Types ("KADID-10k/10") that are rendered; none: all of the table.
        workers: Processes; 0: this one.
        say: Gets lines of progress.

    Returns:
        `figures`, and which weights they are of.

    Raises:
        DataError: see `read_severity` and `clean_pictures`; or the table has none of a type of `only`.
        WeightsError: the weights name no defects.
    """
    levels = read_severity(table)
    if unknown := set(only) - {_key(level) for level in levels}:
        raise DataError(f"only: expected types of {table}, such as KADID-10k/10, got {', '.join(sorted(unknown))}")
    levels = [level for level in levels if not only or _key(level) in only]
    metric = QFMScore.from_pretrained(weights)
    if not metric.defects:
        raise WeightsError(f"{metric.weights_id}: expected weights that name defects")
    photos = clean_pictures(Decoded.open(data / "decoded"), "val", floor_mos, max(pictures, clean), seed)
    cases = [Case(number, (level,)) for number in range(pictures) for level in levels]
    cases += draw_pairs(levels, pictures, pairs, seed)
    cases += [Case(number, ()) for number in range(clean)]
    found = ask(metric, lambda number: cases[number].render(photos), len(cases), workers, say)
    about = {"weights": metric.weights_id, "sha256": metric.weights_sha256, "pictures": pictures}
    return about | figures(cases, found, metric.defects)


def fit_deviations(
    table: Path, data: Path, metric: QFMScore, pictures: int = 12, workers: int = 2
) -> NDArray[np.float64]:
    """What to add to the log-odds of each defect's deviation so that one deviation holds 68 % of the errors, `(K,)`.

    Fitted per name on clean validation photographs other than those that `check` distorts; 0 for a name that no
    distortion of the table has.

    Args:
        table, data, workers: See `check`.
        metric: Names defects.
        pictures: Photographs that are distorted by every level.
    """
    levels = read_severity(table)
    photos = clean_pictures(Decoded.open(data / "decoded"), "val", CLEAN_MOS, PICTURES + pictures, seed=0)[PICTURES:]
    cases = [Case(number, (level,)) for number in range(pictures) for level in levels]
    told = ask(metric, lambda number: cases[number].render(photos), len(cases), workers)
    by_name: dict[str, list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        by_name[case.names()[0]].append(i)
    shifts = np.zeros(len(metric.defects))
    for k, name in enumerate(metric.defects):
        if places := by_name[name]:
            errors = np.abs(told[places, k, 0] - [cases[i].cost() for i in places])
            shifts[k] = _shift(errors, told[places, k, 1])
    return shifts


def _shift(errors: Scores, stds: Scores, share: float = 0.68) -> float:
    """What to add to the log-odds of `stds` so that `share` of the errors lie within them."""
    # An error is inside once the shift reaches the difference of the log-odds.
    return float(np.quantile(logit(np.clip(errors, 1e-4, 1 - 1e-4)) - logit(stds), share))


def ask(
    metric: QFMScore,
    make: Make,
    count: int,
    workers: int,
    say: Callable[[str], None] = lambda text: None,
) -> Scores:
    """What is told of the pictures `make(0)` to `make(count - 1)`: `(count, K, 2)`, costs and deviations."""

    def look(number: int) -> Scores:
        with torch.inference_mode():
            told = metric.net.judge_views(metric.look(make(number))).defects
        assert told is not None
        return told[0].double().numpy()

    def progress(done: int) -> None:
        if done % 500 == 0:
            say(f"{done}/{count}")

    return np.array(each_picture(look, count, workers, progress))


def draw_pairs(levels: Levels, pictures: int, count: int, seed: int) -> list[Case]:
    """Versions with two distortions, each of a cost of `SEEN` or more, whose names differ; none if no names do."""
    rng = np.random.default_rng((seed, 5))
    minded = [level for level in levels if 1 - level.quality >= SEEN]
    found: list[Case] = []
    if all(len({*Case(picture, tuple(minded)).names()}) < 2 for picture in range(pictures)):
        return found
    while len(found) < count:
        first, second = (minded[int(i)] for i in rng.integers(0, len(minded), 2))
        case = Case(int(rng.integers(pictures)), (first, second))
        if len({*case.names()}) == 2:
            found.append(case)
    return found


def figures(cases: Sequence[Case], told: Scores, names: Sequence[str]) -> dict[str, Any]:
    """Compare what was done with what was told.

    Args:
        cases: N versions; some of one distortion, and some of none.
        told: `(N, K, 2)`, costs and their deviations.
        names: K names.

    Returns:
        `top1`, `top2`: share of the versions with a cost of `SEEN` or more whose name costs most, or second most; means
        over types. `order`: pairs of levels of a type, costs `APART` apart, that the name's mean cost orders right.
        `false_alarms`: share of the clean pictures with a cost above `SEEN`. `both`: share of the pairs of which both
        are named, as `defects.sentence` does; None without pairs. `within`: share of the versions whose cost lies
        within one deviation of what is told of its name. `types`: the same by type, and `told`, how often each name
        costs most; `confusion`: that by what was done.
    """
    single = [i for i, case in enumerate(cases) if len(case.levels) == 1]
    place = {name: k for k, name in enumerate(names)}
    order = np.argsort(-told[..., 0], axis=1)
    confusion: dict[str, Counter[str]] = defaultdict(Counter)
    by_type: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i in single:
        by_type[cases[i].levels[0].data_set, cases[i].levels[0].type].append(i)
        if cases[i].cost() >= SEEN:
            confusion[cases[i].names()[0]][names[order[i, 0]]] += 1

    def is_near(i: int, most: int) -> bool:
        return place[cases[i].names()[0]] in order[i, :most]

    types: list[dict[str, Any]] = []
    for (data_set, type), places in sorted(by_type.items()):
        minded = [i for i in places if cases[i].cost() >= SEEN]
        right, of = _ordered([(cases[i], told[i, place[cases[i].names()[0]], 0]) for i in places])
        near = [np.mean([is_near(i, most) for i in minded]).item() if minded else None for most in (1, 2)]
        first = cases[places[0]]
        types.append(
            {"data_set": data_set, "type": type, "name": first.levels[0].name, "defect": first.names()[0]}
            | {"top1": near[0], "top2": near[1], "right": right, "pairs": of}
            | {"told": dict(Counter(names[order[i, 0]] for i in minded).most_common())}
        )
    clean = [i for i, case in enumerate(cases) if not case.levels]
    composed = [i for i, case in enumerate(cases) if len(case.levels) == 2]
    both = [{place[name] for name in cases[i].names()} <= _said(told[i, :, 0]) for i in composed]
    gaps = [_gap(cases[i], told[i, place[cases[i].names()[0]]]) for i in single]
    return {
        "top1": float(np.mean([x["top1"] for x in types if x["top1"] is not None])),
        "top2": float(np.mean([x["top2"] for x in types if x["top2"] is not None])),
        "order": sum(x["right"] for x in types) / sum(x["pairs"] for x in types),
        "false_alarms": float(np.mean(told[clean, :, 0].max(axis=1) > SEEN)),
        "both": float(np.mean(both)) if both else None,
        "within": float(np.mean([gap <= 1 for gap in gaps])),
        "types": types,
        "confusion": {name: dict(counted.most_common()) for name, counted in sorted(confusion.items())},
    }


def markdown(found: dict[str, Any]) -> str:
    """A line per type, and what was taken for what."""
    lines = [
        "| data set | type | name | defect | top 1 | top 2 | levels in order | what costs most |",
        "|---|--:|---|---|--:|--:|--:|---|",
    ]
    for x in found["types"]:
        shares = " | ".join("" if x[name] is None else f"{x[name]:.2f}" for name in ("top1", "top2"))
        lines.append(
            f"| {x['data_set']} | {x['type']} | {x['name']} | {x['defect']} | {shares} | {x['right']}/{x['pairs']} "
            f"| {_shares(x['told'])} |"
        )
    lines += ["", "| what was done | versions | what costs most |", "|---|--:|---|"]
    lines += [f"| {name} | {sum(told.values())} | {_shares(told)} |" for name, told in found["confusion"].items()]
    return "\n".join(lines) + "\n"


def _shares(told: Mapping[str, int]) -> str:
    """How often each name costs most, where it is one time in twenty."""
    total = sum(told.values())
    return ", ".join(f"{name} {count / total:.2f}" for name, count in told.items() if count / total >= 0.05)


def _key(level: DistortionLevel) -> str:
    return f"{level.data_set}/{level.type}"


def _said(costs: Scores) -> set[int]:
    """Places of the defects that a sentence names."""
    first, *others = np.argsort(-costs).tolist()
    if costs[first] < NAMED:
        return set()
    return {first, *(k for k in others[:OTHERS] if costs[k] >= ADDED)}


def _gap(case: Case, told: Scores) -> float:
    """Between what people lost and what is told, in deviations."""
    return float(abs(case.cost() - told[0]) / told[1])


def _ordered(found: Sequence[tuple[Case, float]]) -> tuple[int, int]:
    """Of the pairs of a type's levels whose costs are `APART`, how many are ordered right; and how many there are.

    Where a picture is made darker or brighter, its name differs: levels are compared within a name.
    """
    costs: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case, told in found:
        costs[case.names()[0]][case.cost()].append(told)
    right = of = 0
    for by_cost in costs.values():
        means = [(cost, float(np.mean(values))) for cost, values in sorted(by_cost.items())]
        for i, (low, less) in enumerate(means):
            apart = [more > less for high, more in means[i + 1 :] if high - low > APART]
            right, of = right + sum(apart), of + len(apart)
    return right, of
