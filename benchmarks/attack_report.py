"""What `attack.py` found, as Markdown tables, JSON and a picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from qfm_metric.train.agreement import srcc

START, END = "<!-- tables: written by benchmarks/attack.py -->", "<!-- end of tables -->"
NOTICED = 0.1  # a gain on the scale of the MOS that would change a decision
AMPLIFIED = 20

Results = dict[str, Any]


def to_json(settings: dict[str, Any], results: Results) -> str:
    """All scores and the figures made of them, in four decimals."""
    found = {"settings": settings} | results
    return json.dumps(_rounded(found | {"figures": _all_figures(found)}), indent=1) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(value), 4) if isinstance(value, float) else value


def figures(found: Results, attack: str, source: str, judge: str) -> dict[str, float]:
    """What `judge` makes of pictures that were attacked on `source`.

    `gain` is the mean rise of the score (the mean fall, where the attack lowers it), `gain_sd` the same in standard
    deviations of the judge's clean scores, `share` that of pictures which gain more than .1, `order` the SRCC of clean
    and attacked scores, `psnr` the pictures' mean, in dB.
    """
    clean, sample = np.array(found["clean"][judge]), np.array(found["sample"][judge])
    attacked = np.array(found["attacked"][attack][source][judge])
    gains = (clean - attacked) if attack.endswith("down") else (attacked - clean)
    return {
        "gain": float(gains.mean()),
        "gain_sd": float(gains.mean() / max(sample.std(), 1e-9)),
        "share": float((gains > NOTICED).mean()),
        "order": srcc(clean, attacked),
        "psnr": float(np.mean(found["psnr"][attack][source])),
    }


def _all_figures(found: Results) -> Results:
    return {
        attack: {
            source: {judge: figures(found, attack, source, judge) for judge in judges}
            for source, judges in made.items()
        }
        for attack, made in found["attacked"].items()
    }


def tables(found: Results) -> str:
    """Each network under its own attacks, in short and in full, and every network on the others' pictures."""
    networks, attacks = list(found["clean"]), [name for name, made in found["attacked"].items() if made]
    settings = found["settings"]
    starts = ", ".join(
        f"{count} within {eps}/255" for eps, count in zip(settings["eps"], settings["restarts"], strict=True)
    )
    about = (
        f"{len(found['pictures'])} pictures of {settings['side']} px; APGD: {settings['steps']} steps from each start "
        f"({starts}); ascent: {settings['ascent']} steps. SRCC, and standard deviation (SD) of the clean scores: "
        f"{len(found['sample_mos'])} validation pictures."
    )
    blocks = [about, _short(found, networks, attacks), _full(found, networks, attacks)]
    if len(networks) > 1:
        blocks += [_transfer(found, networks, attack) for attack in attacks]
    return "\n\n".join(blocks)


def _short(found: Results, networks: list[str], attacks: list[str]) -> str:
    rows = []
    for name in networks:
        sample = np.array(found["sample"][name])
        gains = [
            f"{figures(found, attack, name, name)['gain_sd']:.2f}" if name in found["attacked"][attack] else "-"
            for attack in attacks
        ]
        agreement = srcc(sample, np.array(found["sample_mos"]))
        rows.append([name, f"{agreement:.3f}", f"{sample.mean():.3f} ± {sample.std():.3f}", *gains])
    heading = ["gain in SD, attacked on itself", "SRCC", "clean scores", *attacks]
    return _markdown(heading, rows)


def _full(found: Results, networks: list[str], attacks: list[str]) -> str:
    rows = []
    for name in networks:
        for attack in attacks:
            if name in found["attacked"][attack]:
                f = figures(found, attack, name, name)
                values = [f"{f['gain']:+.3f}", f"{f['share']:.0%}", f"{f['order']:.2f}", f"{f['psnr']:.1f}"]
                rows.append([name, attack, *values])
    heading = ["network", "attack", "mean gain", "share above .1", "SRCC of clean and attacked", "PSNR, dB"]
    return _markdown(heading, rows)


def _transfer(found: Results, networks: list[str], attack: str) -> str:
    """A row for the network that pictures were made on, a column for the one that scores them."""
    made = found["attacked"][attack]
    rows = [
        [source, *(f"{figures(found, attack, source, judge)['gain_sd']:+.2f}" for judge in networks)]
        for source in networks
        if source in made
    ]
    return _markdown([f"{attack}, gain in SD: made on \\ scored by", *networks], rows)


def _markdown(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---", *["--:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_section(page: Path, text: str) -> None:
    """Put `text` between the page's two marks.

    Raises:
        ValueError: the marks are missing.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{page}: expected the lines {START} and {END}; put them where the tables belong")
    page.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def draw(found: Results, network: str, clean: Tensor, shown: Mapping[str, Tensor], path: Path) -> None:
    """Clean and attacked pictures `(N, 3, H, W)` side by side, with `network`'s scores; what APGD added, amplified."""
    bounded = [name for name in shown if name.startswith("eps")]
    columns = 1 + len(shown) + len(bounded)
    figure = Figure(figsize=(3.0 * columns, 3.3 * len(clean)), layout="constrained")
    axes = figure.subplots(len(clean), columns, squeeze=False)
    for i, line in enumerate(axes):
        cells = [("clean", clean[i], found["clean"][network][i])]
        for name, pictures in shown.items():
            cells.append((name, pictures[i], found["attacked"][name][network][network][i]))
            if name in bounded:
                change = (0.5 + AMPLIFIED * (pictures[i] - clean[i])).clamp(0, 1)
                cells.append((f"change x {AMPLIFIED}", change, None))
        for axis, (label, picture, score) in zip(line, cells, strict=True):
            axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_title(label if score is None else f"{label}: {score:.3f}", fontsize=12)
            axis.axis("off")
    figure.suptitle(network, fontsize=13)
    figure.savefig(path, dpi=90, pil_kwargs={"quality": 90})
