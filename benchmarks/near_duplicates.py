"""Which of two pictures of one moment do people like better, and which pictures are of one moment at all?

    PYTHONPATH=. python benchmarks/near_duplicates.py DATA/all.csv
    PYTHONPATH=. python benchmarks/near_duplicates.py DATA/all.csv --ladders distortion-severity.csv --photographs 3

DATA is what `python -m qfm_metric.train prepare` wrote for BIQ2021, with its near-duplicates as groups. All groups of
several pictures outside the test part are taken, and some other pictures to fit heads on.

The score of released weights has seen the MOS of the training part. The heads have not seen the fold that they are
asked about, but the network that makes their features has. `ridge` scores a picture: a kernel ridge on its cells'
means. `pairwise` tells which of two is better: an odd kernel ridge on the difference of both pictures' means, fitted to
pairs within groups and to random ones. Widths, penalties and the share of random pairs are chosen inside the other
folds.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qfm_metric.folder.groups import ALIKE, ALIKE_AT_ANY_TIME
from qfm_metric.images import Pixels
from qfm_metric.model import semantic_descriptor
from qfm_metric.score import QFMScore
from qfm_metric.train.datasets.table import read_table
from qfm_metric.train.distortions import distort
from qfm_metric.train.frozen import pixels_of
from qfm_metric.train.own_ratings import folds
from qfm_metric.train.severity import Levels, read_severity

APART = 0.05  # of the MOS: people can tell which is better
OTHERS = 1200
WIDTHS, PENALTIES = (0.3, 1.0, 3.0), (0.03, 0.3, 3.0)  # of a kernel, in units of the number of features; of its ridge
RANDOM = (0, 2)  # random pairs, for each pair within a group
DRAWS = 2000
FALSE = (1e-3, 1e-4, 1e-5, 1e-6)  # shares of random pairs

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]  # of pictures
Pairs = NDArray[np.int64]  # `(P, 2)`, places of pictures


@dataclass(frozen=True)
class Looked:
    """Of N pictures: `(N,)` scores, `(N, F)` standardised means of the cells of all views, `(N, C)` descriptors."""

    scores: Numbers
    means: Numbers
    descriptors: Numbers


def look(metric: QFMScore, make: Callable[[int], Pixels], count: int) -> Looked:
    net, found = metric.net, []
    with torch.inference_mode():
        for number in range(count):
            views = metric.look(make(number))
            maps = net.pyramid(views)
            cells = net.cells(maps)
            score = net.calibration(net.forward_cells(cells, 1)).item()
            means = net.standardize(cells.mean((-2, -1))).expand(1 + net.config.native_views, -1).flatten()
            found.append((score, means.double().numpy(), semantic_descriptor(maps[-1][:1])[0].double().numpy()))
            if number % 100 == 0:
                print(f"{number}/{count}", flush=True)
    return Looked(*(np.array(values) for values in zip(*found, strict=True)))


def pairs_within(groups: Sequence[str], places: Places) -> Pairs:
    """Pairs of pictures of one group, of these places."""
    names = np.array(groups)[places]
    first, second = np.triu_indices(len(places), 1)
    same = names[first] == names[second]
    return np.stack([places[first[same]], places[second[same]]], axis=1)


def kernel(a: Numbers, b: Numbers, width: float) -> Numbers:
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.exp(-square / (2 * width * a.shape[1])))


def odd_kernel(a: Numbers, b: Numbers, width: float) -> Numbers:
    """Of differences: what it makes of `a - b` is minus what it makes of `b - a`."""
    return (kernel(a, b, width) - kernel(a, -b, width)) / 2


def solve(gram: Numbers, target: Numbers, penalties: Sequence[float]) -> Numbers:
    """Weights `(N, penalties)` of a kernel ridge."""
    found = [np.linalg.solve(gram + penalty * np.eye(len(gram)), target) for penalty in penalties]
    return np.stack(found, axis=1)


class Ridge:
    """Scores of pictures, by a kernel ridge on their means."""

    def __init__(self, means: Numbers, mos: Numbers, groups: Sequence[str]) -> None:
        self.means, self.mos, self.groups = means, mos, groups
        self.kernels = WIDTHS

    def predict(self, train: Places, asked: Numbers, width: float, penalties: Sequence[float]) -> Numbers:
        """`(asked, penalties)`, fitted to the pictures `train`."""
        centre = self.mos[train].mean()
        weights = solve(kernel(self.means[train], self.means[train], width), self.mos[train] - centre, penalties)
        return kernel(asked, self.means[train], width) @ weights + centre

    def losses(self, train: Places, test: Places, width: float) -> Numbers:
        """By penalty, the mean squared error."""
        found = self.predict(train, self.means[test], width, PENALTIES)
        return np.asarray(((found - self.mos[test][:, None]) ** 2).mean(0))


class Pairwise:
    """How much better the first of two is, by an odd kernel ridge on the difference of their means."""

    def __init__(self, means: Numbers, mos: Numbers, groups: Sequence[str]) -> None:
        self.means, self.mos, self.groups = means, mos, groups
        self.kernels = [(width, share) for width in WIDTHS for share in RANDOM]

    def predict(
        self, train: Places, asked: Numbers, setting: tuple[float, float], penalties: Sequence[float]
    ) -> Numbers:
        """`(asked, penalties)`, fitted to pairs of the pictures `train`; differences are asked about."""
        width, share = setting
        pairs = pairs_within(self.groups, train)
        drawn = np.random.default_rng(0).choice(train, (int(share * len(pairs)), 2))
        first, second = np.concatenate([pairs, drawn]).T
        known = self.means[first] - self.means[second]
        weights = solve(odd_kernel(known, known, width), self.mos[first] - self.mos[second], penalties)
        return odd_kernel(asked, known, width) @ weights

    def losses(self, train: Places, test: Places, setting: tuple[float, float]) -> Numbers:
        """By penalty, the mean squared error on pairs within groups."""
        first, second = pairs_within(self.groups, test).T
        found = self.predict(train, self.means[first] - self.means[second], setting, PENALTIES)
        return np.asarray(((found - (self.mos[first] - self.mos[second])[:, None]) ** 2).mean(0))


def fitted(head: Any, train: Places) -> Callable[[Numbers], Numbers]:
    """A head with the settings that lose least on folds of these pictures, fitted to all of them."""
    inside = [*folds([head.groups[i] for i in train], 1)]
    losses = [sum(head.losses(train[a], train[b], setting) for a, b in inside) for setting in head.kernels]
    setting, penalty = divmod(int(np.argmin(losses)), len(PENALTIES))
    return lambda asked: head.predict(train, asked, head.kernels[setting], [PENALTIES[penalty]])[:, 0]


def heads(looked: Looked, mos: Numbers, groups: Sequence[str], pairs: Pairs) -> dict[str, Numbers]:
    """How much better the first of each pair is, by heads that have not seen its group."""
    found = {"ridge": np.full(len(pairs), np.nan), "pairwise": np.full(len(pairs), np.nan)}
    for train, test in folds(groups, 0):
        asked = np.isin(pairs[:, 0], test)
        first, second = looked.means[pairs[asked, 0]], looked.means[pairs[asked, 1]]
        ridge = fitted(Ridge(looked.means, mos, groups), train)
        found["ridge"][asked] = ridge(first) - ridge(second)
        found["pairwise"][asked] = fitted(Pairwise(looked.means, mos, groups), train)(first - second)
    return found


def interval(values: Numbers, groups: NDArray[Any]) -> tuple[float, float, float]:
    """Mean over pairs, and its 95 % interval over groups drawn with replacement."""
    _, place = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def report(better: dict[str, Numbers], ahead: Numbers, groups: NDArray[Any]) -> None:
    """Who orders how many pairs as people do, and how much more than the score; a tie is wrong.

    Args:
        better: By name, how much better the first of each pair is.
        ahead: The same of people.
        groups: Of each pair.
    """
    right = {name: np.sign(values) == np.sign(ahead) for name, values in better.items()}
    for name, values in right.items():
        mean, low, high = interval(values.astype(float), groups)
        more = (
            ""
            if name == "score"
            else "   more than the score: {:+.3f} ({:+.3f} to {:+.3f})".format(
                *interval(values.astype(float) - right["score"], groups)
            )
        )
        print(f"  {name:10} {mean:.3f} ({low:.3f} to {high:.3f}){more}")


def report_likeness(descriptors: Numbers, groups: Sequence[str]) -> None:
    """How alike near-duplicates are, and random pairs, and what thresholds find and merge."""
    first, second = np.triu_indices(len(groups), 1)
    likeness, same = (descriptors @ descriptors.T)[first, second], np.array(groups)[first] == np.array(groups)[second]
    near, random = likeness[same], likeness[~same]
    print(f"likeness of {len(near):,} pairs of near-duplicates and {len(random):,} of others")
    print("  near-duplicates, quantiles .05 .25 .5 .75:", *np.quantile(near, [0.05, 0.25, 0.5, 0.75]).round(3))
    limits = [(f"{share:g} of others", float(np.quantile(random, 1 - share))) for share in FALSE]
    for name, limit in [*limits, ("ALIKE", ALIKE), ("ALIKE_AT_ANY_TIME", ALIKE_AT_ANY_TIME)]:
        merged = int((random >= limit).sum())
        print(
            f"  {name:18} {limit:.3f}: finds {(near >= limit).mean():.3f}, merges {merged} ({merged / len(random):.1e})"
        )


def ladder_pairs(levels: Levels) -> Iterator[tuple[int, int, float]]:
    """Two levels of a distortion of which people say how much better the first one is, on a scale of 0 to 1."""
    extent = {"KADID-10k": 4.0, "TID2013": 9.0}
    for i, one in enumerate(levels):
        for j, other in enumerate(levels[:i]):
            ahead = (one.mean - other.mean) / extent[one.data_set]
            if (one.data_set, one.type) == (other.data_set, other.type) and abs(ahead) > APART:
                yield i, j, ahead


def report_ladders(
    metric: QFMScore, levels: Levels, photographs: Sequence[Pixels], labelled: tuple[Looked, Numbers, Sequence[str]]
) -> None:
    """The same of pictures that are the same but for a distortion, and how alike the network finds them.

    A type of a data set is a group. The heads are fitted to all that is `labelled`, none of which is a photograph here.
    """
    known, mos, groups = labelled
    found = look(
        metric,
        lambda i: distort(
            photographs[i // len(levels)],
            levels[i % len(levels)].data_set,
            levels[i % len(levels)].type,
            levels[i % len(levels)].level,
            seed=i // len(levels),
        ),
        len(photographs) * len(levels),
    )
    pairs = [*ladder_pairs(levels)]
    starts = np.arange(len(photographs))[:, None] * len(levels)
    first, second = ((starts + np.array([pair[k] for pair in pairs])).ravel() for k in (0, 1))
    ahead = np.tile([pair[2] for pair in pairs], len(photographs))
    names = np.tile([f"{levels[i].data_set} {levels[i].type}" for i, _, _ in pairs], len(photographs))
    train = np.arange(len(mos))
    ridge, pairwise = (fitted(head(known.means, mos, groups), train) for head in (Ridge, Pairwise))
    better = {
        "score": found.scores[first] - found.scores[second],
        "ridge": ridge(found.means[first]) - ridge(found.means[second]),
        "pairwise": pairwise(found.means[first] - found.means[second]),
    }
    print(f"{len(first):,} pairs of levels whose human means are over {APART} apart, {len(photographs)} photographs")
    report(better, ahead, names)
    clean = look(metric, lambda i: photographs[i], len(photographs)).descriptors
    likeness = (found.descriptors.reshape(len(photographs), len(levels), -1) * clean[:, None]).sum(2)
    for number in range(1, 6):
        of_level = likeness[:, [level.level == number for level in levels]]
        alike = (of_level >= ALIKE).mean()
        print(f"  level {number}: median likeness to the photograph {np.median(of_level):.3f}, {alike:.2f} are alike")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--others", type=int, default=OTHERS)
    parser.add_argument("--ladders", type=Path, help="the table of human means of distortions")
    parser.add_argument("--photographs", type=int, default=3, help="of the ladders")
    args = parser.parse_args()
    metric = QFMScore.from_pretrained(args.weights)
    rows = [row for row in read_table(args.table) if row.split in ("train", "val")]
    sizes = dict(zip(*np.unique([row.group for row in rows], return_counts=True), strict=True))
    alone = [row for row in rows if sizes[row.group] == 1]
    several = [row for row in rows if sizes[row.group] > 1]
    order = np.random.default_rng(0).permutation(len(alone))
    chosen = several + [alone[i] for i in order[: args.others]]
    mos, groups = np.array([row.mos for row in chosen]), [row.group for row in chosen]
    print(metric.signature)
    looked = look(metric, lambda i: pixels_of(Path(chosen[i].image)), len(chosen))
    report_likeness(looked.descriptors, groups)

    pairs = pairs_within(groups, np.arange(len(chosen)))
    pairs = pairs[np.abs(mos[pairs[:, 0]] - mos[pairs[:, 1]]) > APART + 1e-9]  # an MOS has four decimals
    better = {"score": looked.scores[pairs[:, 0]] - looked.scores[pairs[:, 1]], **heads(looked, mos, groups, pairs)}
    ahead, names = mos[pairs[:, 0]] - mos[pairs[:, 1]], np.array(groups)[pairs[:, 0]]
    print(f"{len(pairs)} pairs of near-duplicates whose MOS are over {APART} apart, in {len(set(names))} groups")
    report(better, ahead, names)
    held = np.array([chosen[i].split == "val" for i in pairs[:, 0]])
    print(f"{held.sum()} of them in {len(set(names[held]))} groups of the validation part")
    report({name: values[held] for name, values in better.items()}, ahead[held], names[held])
    if args.ladders:
        clean = [alone[i] for i in order[args.others :] if alone[i].mos >= 0.75 and alone[i].split == "val"]
        photographs = [pixels_of(Path(row.image)) for row in clean[: args.photographs]]
        report_ladders(metric, read_severity(args.ladders), photographs, (looked, mos, groups))


if __name__ == "__main__":
    main()
