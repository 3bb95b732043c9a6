"""`qfm-metric compare A B`: which of two sets of pictures is better, and by how much.

The figures go to standard output (or `-o FILE`); messages to standard error. Exit status: 0 compared, 1 some picture
failed, nothing to compare or the output cannot be written, 2 wrong usage.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import check_writable, whole_file
from ..compare import Comparison, compare_scores, match_names
from ..folder.cores import workers_for
from ..folder.file_names import key, shown
from ..folder.formats import FORMATS
from ..folder.journal import read_table, suffixes
from ..folder.options import check_options
from ..folder.row import Row
from ..html.comparison import defect_facts, facts, left_out, write_comparison
from ..html.document import common_folder
from ..own_files import is_comparison
from .options import SCORE_FIRST, add_metric_options, limit_threads, refusing
from .parser import Parser, reason, warn
from .paths import Scan, tell_missing
from .progress import Progress
from .targets import check_page, check_target, output_file

if TYPE_CHECKING:
    from ..rating import Metric
    from ..score import QFMScore
    from .references import References

NAMES = 5  # listed of those that were left out


@dataclass(frozen=True)
class Side:
    """One of the two sets: name to row, what scored it ("" if it is not known), and how names may begin.

    `folders` are those of a table, whose pictures may all lie in a folder of the one that was scored: from the inner.
    """

    title: str
    rows: Mapping[str, Row]
    signature: str
    folders: Sequence[str] = ()

    def below(self, folder: str) -> "Side":
        """The same with the folder in front of each name."""
        return replace(self, rows={folder + name: row for name, row in self.rows.items()}, folders=())

    @property
    def scores(self) -> dict[str, float | None]:
        """Name to score."""
        return {name: row.score for name, row in self.rows.items()}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    written = ("json",) if args.json else ("txt",)
    check_target("-o", args.output, is_comparison, [args.a, args.b], parser.error, suffixes=written)
    check_page("--html", args.html, [args.a, args.b, *filter(None, [args.output])], parser.error)
    if args.top < 0:
        parser.error(f"--top: expected 0 or more, got {args.top}")
    check_writable(args.output, args.html)
    if args.reference is not None:
        for source in (args.a, args.b, args.reference):
            if not os.path.isdir(source):
                parser.error(f"--reference: expected three folders, {source} is none")
    metric, references = None, None
    if any(os.path.isdir(source) for source in (args.a, args.b)):
        with refusing(parser.error):
            check_options(threads=args.threads)
        limit_threads(args.threads or 1)
        from .metric import check_device, load_metric  # scores in files are compared without torch

        check_device(args, parser.error)
        metric = load_metric(args, parser.error, args.device)
        if args.reference is not None:
            references = _open_references(args.reference, metric, args.recursive, parser)
    try:
        if references is None:
            a, b = (_read(source, metric, args.recursive) for source in (args.a, args.b))
        else:
            a, b = (_read_against(source, references, args.recursive) for source in (args.a, args.b))
    except (OSError, ValueError) as error:
        parser.error(reason(error))
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(f"; nothing is kept: {SCORE_FIRST}, and compare the files") from interrupt
    a, b = _aligned(a, b)
    for side in (a, b):
        _tell_errors(side.rows.values())
    if a.signature and b.signature and a.signature != b.signature:
        warn(f"scored differently: A by {a.signature}; B by {b.signature}")
    comparison = compare_scores(a.scores, b.scores, pair=not args.unpaired)
    titles, signature = (a.title, b.title), a.signature or b.signature
    if args.json:
        text = to_json(comparison, titles, signature)
    else:
        text = to_text(comparison, titles, args.top, defect_facts(a.rows, b.rows))
    _write(text, args.output)
    if args.html:
        tell_missing(row.path for side in (a, b) for row in side.rows.values() if row.score is not None)
        write_comparison(comparison, a.rows, b.rows, args.html, titles=titles, signature=signature)
    if comparison.difference is None:
        warn("nothing to compare: one side has no scores, or no pair has two")
    return int(comparison.difference is None or bool(comparison.failed_a or comparison.failed_b))


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric compare",
        description="Compare two folders of pictures, or two files of scores: paired by name (the suffix may differ) "
        "where names match, else all with all.",
        epilog="Exit status: 0 compared, 1 some picture failed or nothing to compare, 2 wrong usage.",
    )
    what = f"a folder, or scores that qfm-metric wrote ({suffixes()})"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the other one; differences are B - A")
    parser.add_argument(
        "--reference",
        metavar="DIR",
        help="folder of the pictures that A's and B's were made from, by name: what they keep of their quality is "
        "compared, with weights that have this head (docs/reference.md)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document with all pairs")
    parser.add_argument(
        "-o", "--output", type=output_file, metavar="FILE", help="write to FILE instead of standard output"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with the pictures side by side, too")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="pairs that differ most (default: 10)")
    parser.add_argument("--unpaired", action="store_true", help="compare all with all, even where names match")
    parser.add_argument("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    add_metric_options(parser)
    return parser


def to_text(comparison: Comparison, titles: tuple[str, str], top: int, further: Sequence[tuple[str, str]] = ()) -> str:
    """The figures, `further` ones, what was left out, and the `top` pairs that differ most, as lines."""
    rows = [*facts(comparison, titles), *further]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}}  {value}" for name, value in rows]
    for why, names in left_out(comparison):
        more = ", ..." if len(names) > NAMES else ""
        lines.append(f"{why}: {', '.join(names[:NAMES])}{more}")
    if most := comparison.pairs[:top]:
        lines += ["", "   B - A      A      B  pairs that differ most"]
        lines += [f"{pair.difference:+8.4f} {pair.a:6.3f} {pair.b:6.3f}  {shown(pair.name_a)}" for pair in most]
    return "\n".join(lines) + "\n"


def to_json(comparison: Comparison, titles: tuple[str, str], signature: str) -> str:
    """Everything, as JSON in ASCII; the attributes of `Comparison`, the pairs with their difference."""
    content = asdict(comparison) | {
        "verdict": comparison.verdict,
        "a": titles[0],
        "b": titles[1],
        "signature": signature,
    }
    content["pairs"] = [asdict(pair) | {"difference": pair.difference} for pair in comparison.pairs]
    return json.dumps(content, indent=1) + "\n"


def _write(text: str, output: str | None) -> None:
    """Write what was found where it was asked for, or at least on the screen."""
    if output:
        try:
            with whole_file(output, is_ours=is_comparison) as file:
                file.write(text)
            return
        except OSError:  # such as a disk that is full by now
            sys.stdout.write(text)
            raise
    sys.stdout.write(text)


def _open_references(folder: str, metric: "QFMScore", recursive: bool, parser: Parser) -> "References":
    from ..reference import QFMReference
    from ..weights import WeightsError
    from .references import References

    try:
        return References(QFMReference(metric), folder, list(Scan([folder], recursive)))
    except WeightsError as error:
        parser.error(f"--reference: {error}")


def _read_against(source: str, references: "References", recursive: bool) -> Side:
    """Compare the pictures of a folder with their references."""
    paths = list(Scan([source], recursive))
    with Progress(paths) as progress:
        rows = list(progress.counted(references.rows(source, paths)))
    return _side(source, rows, references.compare.signature, _beginning(source))


def _read(source: str, metric: "Metric | None", recursive: bool) -> Side:
    """Score a folder, or read a file of scores.

    Raises:
        OSError, ValueError: it is neither.
    """
    if metric is not None and os.path.isdir(source):
        from ..folder.stream import score_files

        paths, workers = workers_for(Scan([source], recursive))
        with Progress(Scan([source], recursive, quiet=True)) as progress:
            workers, explain = workers if metric.device.type == "cpu" else 1, bool(metric.defects)
            scored = score_files(paths, metric, workers=workers, explain=explain, projection="auto")
            rows, signature = list(progress.counted(scored)), metric.signature
        return _side(source, rows, signature, _beginning(source))
    if Path(source).suffix.lower()[1:] not in FORMATS:
        raise ValueError(f"{source}: expected a folder or a file of scores ({suffixes()})")
    rows, signature = read_table(source)
    base = common_folder(row.path for row in rows)
    parts = key(base).decode().split(os.sep)[:-1]
    folders = ["".join(f"{part}{os.sep}" for part in parts[start:]) for start in reversed(range(len(parts)))]
    return replace(_side(source, rows, signature, base), folders=folders)


def _aligned(a: Side, b: Side) -> tuple[Side, Side]:
    """Both, with as many folders in the names of a table as let most names match; none if that is as good."""

    def matched(pair: tuple[Side, Side]) -> int:
        return len(match_names(list(pair[0].rows), list(pair[1].rows)))

    if matched((a, b)) == min(len(a.rows), len(b.rows)):  # all that can; mostly so, and names may be many
        return a, b
    sides = [(a, b), *((a.below(name), b) for name in a.folders), *((a, b.below(name)) for name in b.folders)]
    return max(sides, key=matched)


def _tell_errors(rows: Iterable[Row]) -> None:
    """Say why pictures have no score, of the first ones."""
    failed = [row for row in rows if row.score is None]
    for row in failed[:NAMES]:
        error = row.error or "no score"
        warn(shown(error if error.startswith(repr(row.path)) else f"{row.path}: {error}"))
    if len(failed) > NAMES:
        warn(f"and {len(failed) - NAMES:,} more without a score")


def _beginning(folder: str) -> str:
    """What the paths of the pictures in a folder begin with: `./A//` is tidied where they are listed."""
    return os.path.join(Path(folder), "")


def _side(source: str, rows: Sequence[Row], signature: str, base: str) -> Side:
    # Names that are no text are escaped in some formats, and shall match those of the others.
    return Side(source, {key(row.path.removeprefix(base)).decode(): row for row in rows}, signature)
