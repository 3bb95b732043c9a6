"""What was computed with the default weights, how each is made again, and the record of which weights made it."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import skimage
import what_is_bad

from qfm_metric import QFMScore
from qfm_metric.train import severity_check
from qfm_metric.weights import read_manifest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "results" / "made.json"
GOLDENS = ROOT / "tests" / "golden"
SERVICE = "docs/service.md"
# Their blocks print scores, or what follows from scores.
DOCUMENTS = (
    "README.md",
    "docs/adapters.md",
    "docs/culling.md",
    "docs/explain.md",
    "docs/export.md",
    "docs/panoramas.md",
    "docs/ratings.md",
    "docs/report.md",
    SERVICE,
    "docs/tables.md",
    "docs/video.md",
    "docs/what-is-bad.md",
)
# Document: the page that its blocks make, the picture of it, and the size of the window.
PAGES = {
    "docs/culling.md": ("plan.html", "docs/culling.jpg", (1100, 640)),
    "docs/video.md": ("film.html", "docs/video.jpg", (1100, 600)),
}
Made = dict[str, str]
Record = dict[str, Made]


@dataclass(frozen=True)
class Artefact:
    """Files that hold what the default weights gave.

    Attributes:
        name: What it is asked for by.
        group: `goldens`, `browser`, `claims`, `pictures` or `studies`.
        files: What is written and committed, from the repository's top.
        make: Writes them; None: `command` prints the figures, and they are written by hand.
        needs: Options that it needs.
        command: What makes it, for a study.
    """

    name: str
    group: str
    files: tuple[str, ...]
    make: Callable[[argparse.Namespace], None] | None = None
    needs: tuple[str, ...] = ()
    command: str = ""


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run this Python with these arguments, this checkout's packages and no network."""
    subprocess.run([sys.executable, *map(str, words)], cwd=cwd, env=environment(), check=True)


def environment() -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def remake_goldens(_: argparse.Namespace) -> None:
    """Of new ids, and of the default if its file has changed; those of other weights stay, or scores have moved."""
    manifest = read_manifest()
    changed = read_record().get("goldens") != default_weights(manifest)
    for name in manifest["weights"]:
        path = GOLDENS / f"{name}.safetensors"
        if not path.exists() or (changed and name == manifest["default"]):
            photo = Path(skimage.__path__[0]) / "data" / "astronaut.png"
            run("-m", "qfm_metric.train", "golden", photo, "--weights", name, "--out", path)
    for path in GOLDENS.iterdir():
        if path.stem not in manifest["weights"]:
            path.unlink()


def remake_browser_graph(_: argparse.Namespace) -> None:
    """Where the page is built, which git ignores; the tests export theirs."""
    site = ROOT / "examples/browser/site"
    if site.is_dir():
        run("-m", "qfm_metric", "export", "--onnx", site / "model.onnx")
    else:
        print(f"{site}: not built, so there is none")


def remake_claims(document: str, _: argparse.Namespace) -> None:
    """Write into a document what its blocks print now, and take the picture of the page that they made."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if document == "docs/adapters.md":
            shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("browser"))
        if document == "docs/export.md":
            run("-m", "qfm_metric", "export", "--onnx", "model.onnx", "--pt2", "model.pt2", cwd=folder)
        with service() if document == SERVICE else nullcontext():
            more = ["--skipped"] if document == SERVICE else []
            run("-m", "helpers.documents", ROOT / document, *more, cwd=folder)
        if document in PAGES:
            from page_pictures import take_picture

            page, picture, size = PAGES[document]
            take_picture(folder / page, ROOT / picture, size)


@contextmanager
def service() -> Iterator[None]:
    """examples/serve.py at the port that docs/service.md names."""
    process = subprocess.Popen([sys.executable, ROOT / "examples/serve.py", "--port", "8000"], env=environment())
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit("remake: examples/serve.py ended; its error is above")
            try:
                urllib.request.urlopen("http://127.0.0.1:8000/health").close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def remake_report_picture(_: argparse.Namespace) -> None:
    from page_pictures import take_both_colours, write_photos

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_photos(folder / "photos")
        command = [sys.executable, "-m", "qfm_metric", "photos", "--quiet", "--html", "report.html", "-o", "scores.txt"]
        done = subprocess.run(command, cwd=folder, env=environment())
        if done.returncode != 1:  # one of the files is no picture
            raise SystemExit(f"remake: expected exit status 1 of qfm-metric, got {done.returncode}")
        take_both_colours(folder / "report.html", ROOT / "docs/report.jpg", (1280, 712), 0.75)


def remake_severity(args: argparse.Namespace) -> None:
    """The tables of docs/severity.md and its picture."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        found = severity_check.check(args.severity, args.data, pictures=6, workers=args.workers, out=folder)
        levels = (folder / "severity.md").read_text(encoding="utf-8")
        (ROOT / "docs/severity.png").write_bytes((folder / "severity.png").read_bytes())
    heading = "| | types and levels | SRCC over them | level pairs ordered right |"
    lines = [heading, "|---|--:|---|---|"]
    for name in ("KADID-10k", "TID2013"):
        of = found[name]
        share = "" if of["right"] == of["pairs"] else f" ({of['pairs_right']:.0%})".replace("%", " %")
        lines.append(f"| {name} | {of['n']} | {fraction(of['srcc'])} | {of['right']} of {of['pairs']}{share} |")
    page = ROOT / "docs/severity.md"
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^`[\w-]+`(?= on six held-out clean photographs)", f"`{found['weights']}`", text)
    text = replace_table(text, heading, "\n".join(lines))
    text = replace_table(text, levels.splitlines()[0], levels.rstrip("\n"))
    page.write_text(text, encoding="utf-8")


def remake_attack(args: argparse.Namespace) -> None:
    table = args.data / "all.csv"
    size = ["--side", "192"]
    run("benchmarks/peer_networks.py", "--data", table, "--backbone", args.backbone, *size, "--pictures", "1000",
        "--validation", "300")  # fmt: skip
    peers = sorted((ROOT / "runs/peers").glob("*.safetensors"))
    run("benchmarks/attack.py", "--data", table, *size, "--pictures", "8", "--sample", "100", "--restarts", "1", "3",
        "1", "--peers", *peers, "--write")  # fmt: skip


def remake_restoration(args: argparse.Namespace) -> None:
    words = ["examples/restoration_loss.py", "--images", args.data / "all.csv", "--batch", "4"]
    run(*words, "--seeds", "0", "1", "2", "3", "4", "--perceptual", args.backbone, "--report", "docs/restoration.md")
    run(*words, "--seeds", "0", "--held-out", args.photographs, "--weights", "0.1", "--loss-weights", "--picture",
        "docs/restoration.jpg")  # fmt: skip


def remake_weights_table(_: argparse.Namespace) -> None:
    """The table of weights in docs/test-runs.md, of the manifest's figures; what it calls them stays."""
    page, part = ROOT / "docs/test-runs.md", "BIQ2021 test"
    text = page.read_text(encoding="utf-8")
    columns = ["id", "parameters", f"{part}: SRCC", "PLCC", "mean of the three subsets' SRCC"]
    heading = f"| {' | '.join([*columns, 'without near-duplicates: SRCC / PLCC'])} |"
    lines = [heading, "|---" * (len(columns) + 1) + "|"]
    for name, entry in read_manifest()["weights"].items():
        if part not in entry["figures"]:
            continue
        of, rest = entry["figures"][part], entry["figures"][f"{part} without near-duplicates"]
        label = re.search(rf"^\| (`{name}`[^|]*) \|", text[text.index(heading) :], re.MULTILINE)
        count = sum(parameter.numel() for parameter in QFMScore.from_pretrained(name).net.parameters())
        values = {key: fraction(value) for key, value in of.items() if key != "images"}
        subsets = ", ".join(values[f"srcc_ss0{number}"] for number in (1, 2, 3))
        cells = [label[1] if label else f"`{name}`", f"{count / 1e6:.1f} M"]
        cells += [f"{values['srcc']} ({values['srcc_low_95']} to {values['srcc_high_95']})", values["plcc"]]
        cells += [f"{values['within_srcc']} ({subsets})", f"{fraction(rest['srcc'])} / {fraction(rest['plcc'])}"]
        lines.append(f"| {' | '.join(cells)} |")
    page.write_text(replace_table(text, heading, "\n".join(lines)), encoding="utf-8")


def replace_table(text: str, heading: str, table: str) -> str:
    """Put a Markdown table in the place of the one that has this heading.

    Raises:
        ValueError: none has, or several.
    """
    before, *rest = f"\n{text}".split(f"\n{heading}\n")
    if len(rest) != 1:
        raise ValueError(f"expected one table with the heading {heading}, got {len(rest)}")
    after = rest[0].split("\n")
    while after and after[0].startswith("|"):
        after.pop(0)
    return "\n".join([before[1:], table, *after])


def fraction(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def default_weights(manifest: Mapping[str, Any]) -> Made:
    """What is noted of the artefacts that the manifest's default made."""
    name = manifest["default"]
    return {"weights": name, "sha256": manifest["weights"][name]["sha256"]}


def read_record() -> Record:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}


def write_record(record: Record) -> None:
    known = {artefact.name: record[artefact.name] for artefact in ARTEFACTS if artefact.name in record}
    RECORD.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _by_hand(name: str, command: str, *files: str) -> Artefact:
    return Artefact(name, "studies", files, command=command)


_GUARDED = "benchmarks/attack.py as docs/attacks.md has it, with --guarded and the new weights' margin"
ARTEFACTS = (
    Artefact("goldens", "goldens", ("tests/golden",), remake_goldens),
    Artefact("browser graph", "browser", (), remake_browser_graph),
    *(
        Artefact(name, "claims", (name, *([PAGES[name][1]] if name in PAGES else [])), partial(remake_claims, name))
        for name in DOCUMENTS
    ),
    Artefact("weights table", "claims", ("docs/test-runs.md",), remake_weights_table),
    Artefact(
        "rank_photos.jpg",
        "pictures",
        ("docs/rank_photos.jpg",),
        lambda _: run("examples/rank_photos.py", "--figure", "docs/rank_photos.jpg"),
    ),
    Artefact(
        "quality_map.jpg",
        "pictures",
        ("docs/quality_map.jpg",),
        lambda _: run("benchmarks/draw_quality_map.py", "docs/quality_map.jpg"),
    ),
    Artefact("report.jpg", "pictures", ("docs/report.jpg",), remake_report_picture),
    Artefact(
        "bad pictures",
        "pictures",
        ("docs/defects.jpg", "docs/bands.jpg"),
        lambda _: run("benchmarks/bad_pictures.py", "docs/defects.jpg", "docs/bands.jpg"),
    ),
    Artefact(
        "thresholds",
        "studies",
        (what_is_bad.THRESHOLDS,),
        lambda args: what_is_bad.write_thresholds(ROOT / what_is_bad.THRESHOLDS, args),
        ("data",),
    ),
    Artefact(
        "defects",
        "studies",
        (what_is_bad.DEFECTS,),
        lambda args: what_is_bad.write_defects(ROOT / what_is_bad.DEFECTS, args),
        ("data", "severity"),
    ),
    Artefact(
        "looked at",
        "studies",
        (what_is_bad.DEFECTS,),
        lambda args: what_is_bad.write_looked_at(ROOT / what_is_bad.DEFECTS, args),
        ("data",),
    ),
    Artefact("severity", "studies", ("docs/severity.md", "docs/severity.png"), remake_severity, ("data", "severity")),
    Artefact(
        "attack",
        "studies",
        ("docs/attacks.md", "docs/attack.jpg", "benchmarks/results/attack.json"),
        remake_attack,
        ("data", "backbone"),
    ),
    Artefact(
        "restoration",
        "studies",
        ("docs/restoration.md", "docs/restoration.jpg"),
        remake_restoration,
        ("data", "backbone", "photographs"),
    ),
    _by_hand("guarded", _GUARDED, "docs/attacks.md"),
    _by_hand("map", "benchmarks/map_study.py DATA/all.csv", "docs/explain.md"),
    _by_hand("deviations", "-m qfm_metric.train evaluate DATA/all.csv", "docs/explain.md"),
    _by_hand("validation", "-m qfm_metric.train travel ID ... as docs/training.md has it", "docs/training.md"),
    _by_hand("speed", "benchmarks/speed.py as benchmarks/README.md has it", "README.md"),
    _by_hand(
        "folder",
        "benchmarks/folder.py as benchmarks/README.md has it",
        "benchmarks/README.md",
        "docs/folders.md",
        "docs/clusters.md",
    ),
)
