"""Judges of restored pictures for `restoration_loss.py`, and the table and the figure that show what they say.

PSNR and SSIM compare with the clean picture; QFM, BRISQUE and PIQE look at the restored one alone. BRISQUE and PIQE
know nothing of QFM: what raises QFM and leaves them behind is suspect. Their packages are optional.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from restoration_pictures import centre
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from qfm_metric import QFMScore

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INDEPENDENT = {"BRISQUE": 'pip install "brisque[opencv-python-headless]"', "PIQE": "pip install pypiqe"}
HEADS = {"PSNR": "PSNR, dB", "SSIM": "SSIM", "QFM": "QFM", "BRISQUE": "BRISQUE, less is better"}
HEADS["PIQE"] = "PIQE, less is better"
DECIMALS = {"PSNR": 2, "SSIM": 4, "QFM": 3, "BRISQUE": 1, "PIQE": 1}
BOOTSTRAP = 2000
START, END = "<!-- table by examples/restoration_loss.py -->\n", "<!-- end of the table -->\n"

Pixels = NDArray[np.uint8]
Judge = Callable[[Pixels], float]
Run = Mapping[str, Any]


def find_judges() -> dict[str, Judge]:
    """The independent no-reference metrics whose packages are installed; lower is better for both."""
    found: dict[str, Judge] = {}
    for name, build in (("BRISQUE", _brisque), ("PIQE", _piqe)):
        try:
            found[name] = build()
        except ImportError as error:
            print(f"no {name} ({error}); for it: {INDEPENDENT[name]}")
    return found


def _brisque() -> Judge:
    from brisque import BRISQUE

    class Flat(BRISQUE):
        """As its package has it, but for features that come as arrays of one element, which NumPy no longer casts."""

        def scale_features(self, features: Sequence[Any]) -> NDArray[np.float64]:
            return super().scale_features([np.asarray(value).item() for value in features])

    return Flat(url=False).score


def _piqe() -> Judge:
    from pypiqe import piqe

    return lambda pixels: float(piqe(pixels)[0])


def judge(restored: Tensor, clean: Tensor, metric: QFMScore, judges: Mapping[str, Judge]) -> dict[str, float]:
    """What all judges say of one restored picture, `(3, H, W)` uint8 like the clean one."""
    pixels, reference = (picture.permute(1, 2, 0).numpy() for picture in (restored, clean))
    with torch.inference_mode():
        values = {
            "PSNR": float(peak_signal_noise_ratio(reference, pixels)) if (pixels != reference).any() else float("inf"),
            "SSIM": float(structural_similarity(reference, pixels, channel_axis=2)),
            "QFM": metric(restored).item(),
        }
    return values | {name: float(judge(pixels)) for name, judge in judges.items()}


def gain_over(runs: Sequence[Run], base: Sequence[Run], name: str) -> tuple[float, float, float]:
    """Mean of `name` over `base`'s, seed by seed and picture by picture, and the ends of its 95 % interval.

    The bootstrap draws pictures; seeds of a picture are averaged first, for they are not independent.
    """
    by_seed = {run["seed"]: run["pictures"] for run in base}
    shared = [(run["pictures"], by_seed[run["seed"]]) for run in runs]
    pictures = list(shared[0][0])
    gains = np.array([np.mean([ours[p][name] - theirs[p][name] for ours, theirs in shared]) for p in pictures])
    draws = np.random.default_rng(0).integers(len(gains), size=(BOOTSTRAP, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), [0.025, 0.975])
    return float(gains.mean()), float(low), float(high)


def mean_of(runs: Sequence[Run], name: str) -> float:
    """Mean of `name` over pictures and seeds."""
    return float(np.mean([values[name] for run in runs for values in run["pictures"].values()]))


def write_table(groups: Mapping[str, Sequence[Run]], judges: Sequence[str], notes: Sequence[str]) -> str:
    """Markdown, a row per loss: `groups` is label to runs of several seeds, of which `L1` is compared with."""
    names = ["PSNR", "SSIM", "QFM", *judges]
    compared = ["PSNR", *(judges or ["QFM"])]
    heads = ["loss", "seeds", *(HEADS[n] for n in names), *(f"{n} beside L1 (95 %)" for n in compared)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for label, runs in groups.items():
        cells = [label, str(len({run["seed"] for run in runs})) if "seed" in runs[0] else ""]
        cells += [_number(mean_of(runs, name), name) for name in names]
        for name in compared:
            if "seed" not in runs[0] or label == "L1":
                cells.append("")
                continue
            gain, low, high = gain_over(runs, groups["L1"], name)
            cells.append(f"{gain:+.2f} ({low:+.2f} to {high:+.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *notes, ""])


def put_table(table: str, page: Path) -> None:
    """Write the table to a page: in the place of its last one, which is marked there, or at the page's end."""
    page.parent.mkdir(parents=True, exist_ok=True)
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    after = ""
    if START in before and END in before:
        before, _, rest = before.partition(START)
        after = rest.partition(END)[2]
    page.write_text(before + START + "\n" + table + END + after, encoding="utf-8")


def _number(value: float, name: str) -> str:
    return "" if np.isinf(value) else f"{value:.{DECIMALS[name]}f}"


def draw(columns: Mapping[str, Sequence[Tensor]], scores: Mapping[str, Sequence[float]], side: int, path: Path) -> None:
    """Rows of pictures, `(3, H, W)` uint8: their middle `side` px, twice as large, under the QFM score of the whole."""
    rows = len(next(iter(columns.values())))
    inches = 2 * side / 100
    size = (inches * len(columns), (inches + 0.25) * rows)
    figure, axes = plt.subplots(rows, len(columns), squeeze=False, figsize=size, layout="constrained")
    for column, (label, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures):
            axes[row, column].imshow(centre(picture, side).permute(1, 2, 0).numpy(), interpolation="nearest")
            axes[row, column].set_title(f"{label}: {scores[label][row]:.2f}", fontsize=9)
            axes[row, column].axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
