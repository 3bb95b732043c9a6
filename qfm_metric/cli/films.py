"""What `qfm-metric CLIP...` does once its options are known to make sense: load, score, write."""

import argparse
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from ..atomic import whole_file
from ..folder.file_names import shown
from ..folder.journal import Done, Journal
from ..folder.row import COLUMNS, DECIMALS, Row
from ..html.films import FilmPage, Strip
from ..images import ImageError, Pixels
from ..rating import Metric
from ..video import VideoScore, score_frames
from ..video.frames import Frames
from .metric import check_device, load_metric
from .output import counted, format_of, write_rows
from .parser import warn
from .progress import Progress


def score_films(args: argparse.Namespace, progress: Progress, refuse: Callable[[str], Any]) -> int:
    """Score and write what was asked for; the exit status.

    Raises:
        UsageError: what is there cannot be written to.
    """
    check_device(args, refuse)
    return Films(args, load_metric(args, refuse, args.device), progress).run()


class Films:
    """A run over films: rows as they come, then what is made of them."""

    def __init__(self, args: argparse.Namespace, metric: Metric, progress: Progress) -> None:
        self.args, self.metric, self.progress = args, metric, progress
        self.page = FilmPage() if args.html else None
        self.best: tuple[float, Pixels] | None = None
        self.failed = self.below = False

    def run(self) -> int:
        """Score and write; the exit status."""
        args, form, write = self.args, format_of(self.args.format), self.progress.write_above
        journal = Journal(Path(args.output), form) if args.output else None
        found = self.rows()
        try:
            with ExitStack() as opened:
                if journal:
                    file, _ = journal.begin({"signature": self.metric.signature}, resume=False)
                    write = opened.enter_context(file).write
                rows = self.progress.counted(counted(found, Done()))
                write_rows(rows, write, form, tuple(COLUMNS), self.metric.signature)
                if journal:
                    journal.finish(tuple(COLUMNS))
        except KeyboardInterrupt as interrupt:
            kept = f" in {journal.grows}" if journal else ""
            raise KeyboardInterrupt(f"; what was seen so far is written{kept}") from interrupt
        finally:  # of a run that was cut off, too
            found.close()  # sums up the film
            self.write_pictures()
        return 1 if self.failed else 3 if self.below else 0

    def write_pictures(self) -> None:
        """Write the best frame, and the page, of what was seen; where one cannot be written, the other is."""
        args = self.args
        try:
            if self.best:
                with whole_file(args.best_frame, "wb") as file:
                    Image.fromarray(self.best[1]).save(file, "PNG")
        finally:
            if self.page:
                title = os.path.basename(args.paths[0]) if len(args.paths) == 1 else f"{len(args.paths)} films"
                self.page.write(args.html, title=title, signature=self.metric.signature)

    def rows(self) -> Generator[Row, None, None]:
        """Of all films, one after the other; one that cannot be read has a row with its error."""
        for path in self.args.paths:
            frames, rows, times = Frames(path, self.args.fps), list[Row](), list[float]()
            try:
                for row, time, pixels in score_frames(frames, self.metric):
                    rows.append(row)
                    times.append(time)
                    self.see(path, row, pixels)
                    yield row
            except ImageError as error:  # also of a frame that there is too little memory for
                self.failed = True
                yield Row(path, error=str(error))
            finally:
                if rows:
                    self.sum_up(path, VideoScore(rows, times, frames.damaged), frames.seconds)

    def see(self, path: str, row: Row, pixels: Pixels) -> None:
        """Keep of a frame what the page and the best frame need."""
        if self.page:
            self.page.add(path, row, pixels)
        if self.args.best_frame and row.score is not None and (self.best is None or row.score > self.best[0]):
            self.best = row.score, pixels

    def sum_up(self, path: str, found: VideoScore, seconds: float) -> None:
        """Say what a film comes to."""
        facts = [
            ("frames", f"{len(found.rows):,}"),
            ("mean", f"{found.mean:.{DECIMALS}f}"),
            ("lowest tenth", f"{found.lowest_tenth:.{DECIMALS}f}"),
            ("deviation", f"{found.deviation:.{DECIMALS}f}"),
            ("best", f"{found.scores[found.best]:.{DECIMALS}f} at {found.times[found.best]:.3f} s"),
        ]
        if found.damaged:
            self.failed = True
            facts.append(("damaged parts", f"{found.damaged:,}"))
        warn(f"{shown(path)}: " + ", ".join(f"{name} {value}" for name, value in facts))
        self.below |= self.args.fail_under is not None and round(found.mean, DECIMALS) < self.args.fail_under
        if self.page:
            self.page.strips.append(Strip(path, facts, found.rows, found.times, seconds))
