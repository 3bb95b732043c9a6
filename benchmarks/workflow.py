"""Thousands of pictures from scores to files: sidecars, page, plan, move and undo, timed step by step.

    PYTHONPATH=.:tests python benchmarks/workflow.py --pictures 5000

The pictures are generated (256 x 192 px, JPEG), and a metric that takes their mean stands for the network: what is
timed is everything else. Each step is a run of the command in this process.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from helpers.generated_files import picture
from helpers.mean import Mean

from qfm_metric.cli import main as command
from qfm_metric.cli import metric

SIZE = (256, 192)
DIFFERENT = 50  # pictures, under many names: making one takes longer than copying it
STEPS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "score, sidecars, groups and page",
        ["shoot", "--group", "--xmp", "--html", "page.html", "--jsonl", "-o", "scores.jsonl", "--quiet"],
    ),
    ("the same again: sidecars are right already", ["shoot", "--xmp", "--jsonl", "-o", "again.jsonl", "--quiet"]),
    ("score alone", ["shoot", "--jsonl", "-o", "alone.jsonl", "--quiet"]),
    ("plan and its page", ["cull", "scores.jsonl", "--require", "score >= .5", "--html", "plan.html"]),
    ("move what is rejected, with sidecars", ["cull", "--apply", "cull-plan.csv", "--to", "culled"]),
    ("bring it back", ["cull", "--undo", "cull-plan.csv.undo"]),
)


def make_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(min(count, DIFFERENT)):
        picture(*SIZE, number).save(folder / f"{number:05d}.jpg")
    for number in range(DIFFERENT, count):
        (folder / f"{number:05d}.jpg").write_bytes((folder / f"{number % DIFFERENT:05d}.jpg").read_bytes())


def files_in(folder: str) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        make_pictures(Path("shoot"), args.pictures)
        with patch.object(metric, "QFMScore", Mean()):
            for name, words in STEPS:
                before = time.process_time()
                with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                    status = command(words)
                if status:
                    raise SystemExit(f"{name}: exit status {status}")
                seconds = time.process_time() - before
                rejected = files_in("culled") if os.path.isdir("culled") else 0
                print(f"{name:45} {seconds:6.1f} s CPU  {files_in('shoot'):6} files in shoot, {rejected:6} in culled")
        print(
            f"page {os.path.getsize('page.html') / 1e6:.1f} MB; rows {Path('scores.jsonl').read_text().count(chr(10))}"
        )
        print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        os.chdir("/")


if __name__ == "__main__":
    main()
