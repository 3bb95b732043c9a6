"""Ten thousand files of every kind, 1 % of them broken: is each scored, and how much memory does it take?

    PYTHONPATH=. python benchmarks/ten_thousand.py --workers 2 --figure docs/folder-memory.png

Writes the files (seeded), scores them with `score_files`, and checks that there is a row per file, in their order, that
broken files have an error and no other has, and that the largest files and some drawn by chance have the score of a
single call, to the last bit. Memory is that of all processes together, each page once (PSS), in
MB of 2^20 bytes. Linux only.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median

import torch

from qfm_metric import ImageError, QFMScore, load_image, score_files

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.generated_files import WAYS, picture, save_as

KINDS = [
    ("plain", "jpg"), ("plain", "png"), ("plain", "webp"), ("cmyk", "jpg"), ("deep", "png"), ("alpha", "png"),
    ("plain", "bmp"), ("plain", "gif"), ("plain", "tif"), ("plain", "ppm"),
]  # fmt: skip
SMALL = [(64, 64), (96, 128), (200, 150), (320, 240), (64, 300), (512, 384), (130, 97), (224, 224)]
LARGE = {(1280, 960): 40, (4000, 3000): 400, (8660, 5774): 2000}  # one file in so many; the last has 50 MP
LARGEST = 5  # files that are scored by single calls besides those drawn by chance
POINTS = 250  # of the figure
VARIANTS = 6  # encoded pictures of a kind and size; the files of one are links to it
MORE_WAYS = {
    "wrong suffix": lambda path, jpeg: path.write_bytes(b"%PDF-1.7\n" + bytes(500)),
    "damaged header": lambda path, jpeg: path.write_bytes(bytes(8) + jpeg[8:]),
}


def make_files(folder: Path, count: int) -> tuple[list[str], dict[str, str]]:
    """Write the files; their paths in order, and how those are broken that are."""
    ways = {name: way for name, way in (WAYS | MORE_WAYS).items() if name != "no permission"}  # root has it
    names, broken = list(ways), dict[str, str]()
    chance, cache = random.Random(0), folder / "encoded"
    files = folder / "files"
    files.mkdir()
    cache.mkdir()
    picture(96, 96, 0).save(cache / "sample.jpg")
    jpeg = (cache / "sample.jpg").read_bytes()
    for i in range(count):
        if i % 100 == 50:
            path = files / f"{i:06d}.jpg"
            broken[str(path)] = name = names[i // 100 % len(names)]
            ways[name](path, jpeg)
            continue
        size = next((size for size, every in reversed(LARGE.items()) if i % every == every // 2 + 1), None)
        kind, suffix = KINDS[i % len(KINDS)] if size is None else ("plain", "jpg")
        size = size or chance.choice(SMALL)
        source = cache / f"{kind}-{size[0]}x{size[1]}-{chance.randrange(VARIANTS)}.{suffix}"
        if not source.exists():
            save_as(kind, picture(*size, i), source)
        os.link(source, files / f"{i:06d}.{suffix}")
    return sorted(map(str, files.iterdir())), broken


def descendants(pid: int) -> list[int]:
    """This process and those that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text().split()
    except OSError:  # it has gone
        return []
    return [pid, *(one for child in children for one in descendants(int(child)))]


def memory_mb() -> float:
    """Memory of the process tree in MB, what processes share counted once."""
    total = 0
    for pid in descendants(os.getpid()):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


class Watch(threading.Thread):
    """Samples the memory every `seconds`, with how many rows there are."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.rows, self.samples = seconds, 0, list[tuple[float, int, float]]()
        self.started, self.over = time.monotonic(), threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.seconds):
            self.samples.append((time.monotonic() - self.started, self.rows, memory_mb()))


def check_samples(scores: dict[str, float | None], metric: QFMScore, count: int) -> int:
    """Single calls of the largest files and of `count` others; how many were compared."""
    torch.set_num_threads(1)  # as a worker process has: sums depend on how they are shared out
    paths = sorted(scores, key=lambda path: os.lstat(path).st_size)
    largest = [paths.pop() for _ in range(LARGEST)]
    sample = random.Random(1).sample(paths, min(count, len(paths)))
    for path in [*largest, *sample]:
        try:
            single = metric(load_image(path)).item()
        except ImageError:
            single = None
        if single != scores[path]:
            raise SystemExit(f"{path}: expected {single}, which a single call says, got {scores[path]}")
    return len(largest) + len(sample)


def draw(samples: list[tuple[float, int, float]], before: float, title: str, figure: Path) -> None:
    """Highest memory in each of POINTS stretches of rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    width = max(1, samples[-1][1] / POINTS)
    peaks: dict[int, float] = {}
    for _, rows, mb in samples:
        peaks[int(rows / width)] = max(mb, peaks.get(int(rows / width), 0))
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "0"})
    picture, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    axes.plot([width * part for part in peaks], list(peaks.values()), linewidth=0.9)
    axes.axhline(before, color="grey", linestyle="--", linewidth=0.9, label="before: Python, torch, the network")
    axes.set(xlabel="files scored", ylabel="memory of all processes, MB", ylim=(0, None), title=title)
    axes.legend(loc="lower right")
    picture.savefig(figure, dpi=110, metadata={"Date": None} if figure.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--samples", type=int, default=100, help="files that are scored by single calls, too")
    parser.add_argument("--every", type=float, default=0.25, metavar="SECONDS", help="between two looks at the memory")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="ten-thousand-"))
    try:
        started = time.monotonic()
        paths, broken = make_files(folder, args.files)
        suffixes = Counter(Path(path).suffix for path in paths)
        made = {"files": len(paths), "broken": len(broken), "suffixes": suffixes}
        print(json.dumps(made | {"seconds": round(time.monotonic() - started)}), flush=True)
        metric = QFMScore()
        torch.set_num_threads(1)
        metric(torch.zeros(1, 3, 64, 64))
        before, watch, scores, wrong = memory_mb(), Watch(args.every), dict[str, float | None](), list[str]()
        errors, largest = Counter[str](), 0
        watch.start()
        for path, row in zip(paths, score_files(iter(paths), metric, workers=args.workers), strict=True):
            if row.path != path or (row.score is None) != (path in broken) or (row.score is None) == (not row.error):
                wrong.append(f"{path}: {row}")
            if row.error:
                errors[f"{broken.get(path)}: {row.error.removeprefix(repr(path) + ': ')[:60]}"] += 1
            scores[path], largest = row.score, max(largest, (row.width or 0) * (row.height or 0))
            watch.rows += 1
        watch.over.set()
        watch.join()
        if wrong:
            raise SystemExit(f"{len(wrong)} rows are wrong, the first: {wrong[0]}")
        seconds = time.monotonic() - watch.started
        half = [mb for _, rows, mb in watch.samples if rows >= len(paths) // 2]
        found = {
            "rows": len(scores),
            "largest_megapixels": round(largest / 1e6, 1),
            "errors": errors,
            "minutes": round(seconds / 60, 1),
            "memory_before_mb": round(before),
            "memory_peak_mb": round(max(mb for *_, mb in watch.samples)),
            "memory_peak_second_half_mb": round(max(half)),
            "memory_median_mb": round(median(mb for *_, mb in watch.samples)),
            "as_single_calls": check_samples(scores, metric, args.samples),
            "load": os.getloadavg()[1],
            "signature": metric.signature,
        }
        print(json.dumps(found), flush=True)
        if args.figure:
            title = f"{len(paths):,} files, up to {largest / 1e6:.0f} MP, {len(broken)} broken, workers={args.workers}"
            draw(watch.samples, before, title, args.figure)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
