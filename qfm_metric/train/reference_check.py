"""Does what is said to be kept fall as people's answers did? KADID-10k's and TID2013's types on held-out pictures.

Beside it PSNR and SSIM on the same renderings; what heads say that have not seen a type; and what is asked of any such
metric: 1 for identical pictures, little change when both are swapped, never up where people went down, and little for
a shift that nobody sees. The figures are ours: answers are means over our photographs, people's means over the data
sets' own.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..images import Pixels
from ..model import QFMNet
from ..reference import QFMReference
from ..reference_head import ReferenceHead
from ..score import QFMScore
from .agreement import Scores, srcc
from .datasets.table import Decoded
from .defects import type_of
from .distortions import distort
from .esrgan import FACTOR, Enlarge, interpolated, read_esrgan, remade
from .material.framing import grey, to_tensor
from .reference import Pairs, fit_head, read_pairs
from .scoring import each_picture
from .severity import Levels, read_severity
from .severity_check import CLEAN_MOS, SEEN_APART, clean_pictures, level_agreement

MOST_PSNR = 100.0  # dB, also of equal pictures
SHIFTS = (1, 2, 4)  # px, of pictures without a distortion
SHIFT = 2  # px, of distorted ones
Say = Callable[[str], None]


class Answers(NamedTuple):
    """Of all levels and pictures, `(levels, pictures)` each.

    Attributes:
        kept: What the head says.
        swapped: What it says with picture and reference exchanged.
        left_out: What a head says that has not seen the type; NaN: there is none.
        psnr: In dB.
        ssim: Of the grey pictures.
        shifted, shifted_psnr, shifted_ssim: The same where the distorted picture lies `SHIFT` px to the right.
    """

    kept: Scores
    swapped: Scores
    left_out: Scores
    psnr: Scores
    ssim: Scores
    shifted: Scores
    shifted_psnr: Scores
    shifted_ssim: Scores


def check(
    table: Path,
    data: Path,
    weights: str | None = None,
    *,
    pictures: int = 6,
    cells: Path | None = None,
    backbone: str | None = None,
    folds: int = 7,
    steps: int = 500,
    seed: int = 0,
    workers: int = 0,
    esrgan: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Distort clean validation photographs as the table's levels say, and compare them with what they were.

    Args:
        table: Human means (`read_severity`).
        data: What `prepare` wrote.
        weights: Id or file with the head; None: the shipped weights.
        pictures: Clean photographs.
        cells, backbone: See `read_pairs`: heads are fitted anew without each fold of the types. None: none is left out.
        folds, steps: Of the types, and of each such fit.
        seed: Of the choice of photographs, and of the fits.
        workers: Processes; 0: this one.
        esrgan: Also compare what Real-ESRGAN makes of reduced photographs, see `esrgan_figures`.
        say: Gets lines of progress.

    Returns:
        `figures`, those of `shift_figures` and `esrgan_figures`, and which weights they are of.

    Raises:
        DataError: see `read_severity`, `clean_pictures`, `read_pairs` and `read_esrgan`.
        WeightsError: the weights have no such head.
    """
    levels, decoded = read_severity(table), Decoded.open(data / "decoded")
    metric = QFMReference(QFMScore.from_pretrained(weights))
    clean = clean_pictures(decoded, "val", CLEAN_MOS, pictures, seed)
    net = metric.metric.net
    others = left_out_heads(read_pairs(net, cells, backbone), levels, folds, steps, seed, say) if cells else {}
    answers = ask(net, clean, levels, others, workers, say)
    same = [metric(image, image).item() for image in map(to_tensor, clean)]
    about = {"weights": metric.weights_id, "sha256": metric.metric.weights_sha256, "pictures": len(clean)}
    found = about | {"identical": float(np.mean(np.array(same) == 1)), "shift": shift_figures(net, clean)}
    if esrgan:
        found["esrgan"] = esrgan_figures(metric, clean, read_esrgan(), say)
    return found | figures(answers, levels)


def left_out_heads(
    pairs: Pairs, levels: Levels, folds: int, steps: int, seed: int, say: Say
) -> dict[tuple[str, int], ReferenceHead]:
    """By data set and type, a head that has seen neither it nor the others of its fold."""
    types = sorted({(level.data_set, level.type) for level in levels})
    found: dict[tuple[str, int], ReferenceHead] = {}
    for fold in range(folds):
        without = types[fold::folds]
        say(f"fold {fold + 1} of {folds}: without {', '.join(f'{name} {number}' for name, number in without)}")
        head = fit_head(pairs.without([type_of(*type) for type in without]), steps=steps, seed=seed)
        found |= dict.fromkeys(without, head)
    return found


def ask(
    net: QFMNet,
    pictures: Sequence[Pixels],
    levels: Levels,
    others: dict[tuple[str, int], ReferenceHead],
    workers: int = 0,
    say: Say = lambda text: None,
) -> Answers:
    """Render every level of every picture, and compare it with the picture.

    Args:
        net: With the head.
        pictures: `(H, W, 3)` uint8 each; a picture's place in the sequence seeds its noise.
        levels: What to render.
        others: What `left_out_heads` gave.
        workers: Processes; 0: this one.
        say: Gets lines of progress.
    """
    references = [look(net, picture) for picture in pictures]
    inner = [look(net, cut(picture)) for picture in pictures]

    def compare(number: int) -> tuple[float, ...]:
        place, of = divmod(number, len(levels))
        level, clean, reference = levels[of], pictures[place], references[place]
        version = distort(clean, level.data_set, level.type, level.level, seed=place)
        with torch.inference_mode():
            cells = look(net, version)
            other = others.get((level.data_set, level.type))
            kept, swapped = net.reference(cells, reference).item(), net.reference(reference, cells).item()
            left_out = float("nan") if other is None else other(cells, reference).item()
            moved = cut(version, right=SHIFT)
            shifted = net.reference(look(net, moved), inner[place]).item()
        aligned, beside = ((psnr(*pair), ssim(*pair)) for pair in ((version, clean), (moved, cut(clean))))
        return kept, swapped, left_out, *aligned, shifted, *beside

    total = len(pictures) * len(levels)
    found = each_picture(compare, total, workers, lambda n: say(f"{n}/{total}") if n % 200 == 0 else None)
    return Answers(*np.array(found).reshape(len(pictures), len(levels), -1).transpose(2, 1, 0))


@torch.inference_mode()
def look(net: QFMNet, pixels: Pixels) -> Tensor:
    """What `ReferenceHead` compares, `(1, V, cells, C)`."""
    return net.reference_cells(net.cells(net.pyramid(net.distinct_views(to_tensor(pixels)[None]))), 1)


def cut(pixels: Pixels, down: int = 0, right: int = 0) -> Pixels:
    """All but a margin as wide as the largest shift, from so many px further down and to the right."""
    margin, (height, width) = max(SHIFTS), pixels.shape[:2]
    return pixels[margin + down : height - margin + down, margin + right : width - margin + right]


def shift_figures(net: QFMNet, pictures: Sequence[Pixels]) -> dict[str, dict[str, float]]:
    """By shift in px, what is kept of pictures that are shifted against themselves, with PSNR and SSIM.

    Means over the pictures, and over shifts down and to the right.
    """
    found: dict[str, dict[str, float]] = {}
    inner = [(picture, cut(picture), look(net, cut(picture))) for picture in pictures]
    for shift in SHIFTS:
        rows = []
        for (picture, still, seen), move in product(inner, ({"down": shift}, {"right": shift})):
            moved = cut(picture, **move)
            with torch.inference_mode():
                kept = net.reference(look(net, moved), seen).item()
            rows.append((kept, psnr(moved, still), ssim(moved, still)))
        means = np.mean(rows, axis=0).tolist()
        found[str(shift)] = dict(zip(("kept", "psnr", "ssim"), means, strict=True))
    return found


def esrgan_figures(
    metric: QFMReference, pictures: Sequence[Pixels], enlarge: Enlarge, say: Say = lambda text: None
) -> dict[str, dict[str, float]]:
    """What pictures get that were reduced and enlarged again, by ESRGAN and by a bicubic kernel.

    Returns:
        By "clean", and by network or kernel and factor: means of what is kept, PSNR, SSIM, and the score without a
        reference.
    """
    makers = {"ESRGAN": enlarge, "bicubic": interpolated}
    found: dict[str, list[tuple[float, ...]]] = {}
    for number, clean in enumerate(pictures, start=1):
        versions = {"clean": clean} | {
            f"{name} {factor}": remade(clean, factor, maker)
            for (name, maker), factor in product(makers.items(), (FACTOR // 2, FACTOR))
        }
        for name, version in versions.items():
            image = to_tensor(version)
            kept, score = metric(image, to_tensor(clean)).item(), metric.metric(image).item()
            found.setdefault(name, []).append((kept, psnr(version, clean), ssim(version, clean), score))
        say(f"ESRGAN: {number}/{len(pictures)}")
    names = ("kept", "psnr", "ssim", "score")
    return {name: dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) for name, rows in found.items()}


def psnr(pixels: Pixels, reference: Pixels) -> float:
    """Peak signal-to-noise ratio of all three channels, in dB."""
    error = np.mean((pixels.astype(float) - reference) ** 2)
    return float(min(MOST_PSNR, 10 * np.log10(255**2 / max(error, 1e-9))))


def ssim(pixels: Pixels, reference: Pixels) -> float:
    """Structural similarity of the grey pictures, with the window and the constants of its authors."""
    from skimage.metrics import structural_similarity  # of the extra `train`; slow to import

    planes = (grey(both)[..., 0] for both in (pixels, reference))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*planes, data_range=255, **window))  # type: ignore[no-untyped-call]


def figures(answers: Answers, levels: Levels) -> dict[str, Any]:
    """Compare with people.

    Returns:
        By data set the SRCC over its types and levels of each of `Answers` but `swapped`, and `pairs_right` of the
        head (`level_agreement`). `swap`: by how much exchanging both changes an answer, mean and most. `monotone`:
        share of the ladders, of one type on one picture each, in which no level that people rated clearly lower
        (`SEEN_APART`) is said to keep more.
    """
    found: dict[str, Any] = {}
    for name in sorted({level.data_set for level in levels}):
        chosen = [i for i, level in enumerate(levels) if level.data_set == name]
        people = np.array([levels[i].mean for i in chosen])
        of_set = {
            kind: srcc(values[chosen].mean(axis=1), people)
            for kind, values in answers._asdict().items()
            if kind != "swapped" and np.isfinite(values[chosen]).all()
        }
        agreement = level_agreement(answers.kept.mean(axis=1), levels, name)
        found[name] = of_set | {"pairs_right": agreement["pairs_right"]}
    swap = np.abs(answers.kept - answers.swapped)
    return found | {"swap": [float(swap.mean()), float(swap.max())], "monotone": monotone(answers.kept, levels)}


def monotone(kept: Scores, levels: Levels) -> float:
    """Share of the ladders that never rise where people fell, of answers `(levels, pictures)`."""
    right = []
    for type in sorted({(level.data_set, level.type) for level in levels}):
        places = [i for i, level in enumerate(levels) if (level.data_set, level.type) == type]
        people = np.array([levels[i].mean for i in places])
        # Means are rounded to 4 digits: 4.4 and 4.0 do not differ by more than 0.4.
        better, worse = np.nonzero(people[:, None] - people > SEEN_APART[type[0]] + 1e-9)
        right.append((kept[places][better] > kept[places][worse]).all(axis=0))
    return float(np.mean(right))
