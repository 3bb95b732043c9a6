"""What a recipe's students make of what they never saw: a source of photographs, types of distortion.

A file of weights cannot show this: its backbone has seen every source and type. So each is left out of a run of its own
from ImageNet's weights, at a budget that the recipe's loop says, and measured on validation pictures. The same budget
for every recipe that is compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch.distributed as dist

from ..score import QFMScore
from .agreement import srcc
from .datasets.table import Decoded
from .material import Material
from .recipe import Recipe
from .scoring import score_pictures
from .severity import read_severity
from .severity_check import CLEAN_MOS, clean_pictures, score_levels
from .student import train_student

Say = Callable[[str], None]


def left_out(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    severity: Path,
    ladders: Path,
    members: Sequence[Path] = (),
    folds: int = 7,
    pictures: int = 12,
    workers: int = 2,
    say: Say = lambda text: None,
) -> dict[str, float]:
    """Train without each source, and without each fold of the types; measure what was left out.

    Runs that are complete in `out` are not repeated. Under `torchrun` every process calls this alike.

    Args:
        recipe, data, severity, ladders, members: See `train_student`.
        out: Folder for the runs.
        folds: Of the types; 0: none is left out.
        pictures: Clean validation photographs that are distorted.
        workers: Processes that measure.
        say: Gets lines of progress.

    Returns:
        SRCC within each source, of the student that has not seen it, and their mean; SRCC over the types and levels of
        each data set, each from the student that has not seen its type. Of the first process; of others nothing.
    """
    decoded, levels = Decoded.open(data / "decoded"), read_severity(severity)
    shares = Material.open(data, severity, ladders, members, recipe.material).shares_by_subset()
    figures: dict[str, float] = {}

    def student(name: str, **changes: object) -> QFMScore | None:
        changed = replace(recipe, material=replace(recipe.material, **changes))  # type: ignore[arg-type]
        path = out / name / "student.safetensors"
        if not path.is_file():
            files = {"severity": severity, "ladders": ladders, "members": members}
            train_student(changed, data, path.parent, **files, say=lambda text: say(f"{name}: {text}"))  # type: ignore[arg-type]
        return QFMScore.from_pretrained(path) if not dist.is_initialized() or dist.get_rank() == 0 else None

    for source in shares:
        others = {name: share / (1 - shares[source]) for name, share in shares.items() if name != source}
        metric = student(f"without-{source}", subsets=others)
        if metric:
            val = np.array([i for i in decoded.select("val") if decoded.rows[i].subset == source])
            scores, _ = score_pictures(metric, decoded.pictures(val).__getitem__, len(val), workers)
            figures[f"{source}, left out: srcc"] = srcc(scores, decoded.mos[val])
    if figures:
        figures["sources, left out: srcc"] = float(np.mean(list(figures.values())))
    types = sorted({(level.data_set, level.type) for level in levels})
    found: list[tuple[str, float, float]] = []
    for fold in range(folds):
        without = types[fold::folds]
        metric = student(f"fold-{fold}", without=tuple(f"{data_set}/{number}" for data_set, number in without))
        if metric:
            held = [level for level in levels if (level.data_set, level.type) in without]
            clean = clean_pictures(decoded, "val", CLEAN_MOS, pictures, seed=0)
            means = score_levels(metric, clean, held, workers).mean(axis=1)
            found += [(level.data_set, float(mean), level.mean) for level, mean in zip(held, means, strict=True)]
    for name in sorted({data_set for data_set, _, _ in found}):
        ours, people = np.array([pair for data_set, *pair in found if data_set == name]).T
        figures[f"{name}, types left out: srcc"] = srcc(ours, people)
    return figures
