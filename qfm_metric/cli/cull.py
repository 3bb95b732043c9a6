"""`qfm-metric cull FOLDER`: a plan of what to keep; `--apply` moves what it rejects, `--undo` brings it back.

The decisions go to standard output and into the plan. Exit status: 0 all is well, 1 some picture could not be scored or
some file not moved, 2 wrong usage.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..atomic import check_writable
from ..cull.apply import Outcome, apply_plan, undo_plan
from ..cull.best import keep_best
from ..cull.decide import PRESETS, Decide, Decision, by_preset, by_requirement
from ..cull.plan import PlanError, Planned, make_plan, read_plan, write_plan
from ..cull.undo_file import UndoError
from ..folder.cores import workers_for
from ..folder.file_names import shown
from ..folder.formats import FORMATS
from ..folder.journal import read_table, suffixes
from ..folder.options import check_options
from ..folder.row import DECIMALS, DEFECT_COLUMNS, FACT_COLUMNS, GROUP_COLUMNS, NUMBERS, Row
from ..html.decisions import write_decisions
from ..html.document import common_folder
from ..own_files import is_plan
from ..requirements import Requirement, RequirementError, parse_requirement
from .options import SCORE_FIRST, add_metric_options, limit_threads, refusing
from .parser import Parser, reason, warn
from .paths import Scan, tell_missing
from .progress import Progress
from .targets import check_page, check_target

PLAN = "cull-plan.csv"
SHOWN = 20  # problems that are listed
# Columns that are looked for on request.
ASKED = {"explain": DEFECT_COLUMNS.keys(), "facts": FACT_COLUMNS.keys(), "moments": GROUP_COLUMNS.keys()}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    check(args, parser.error)
    try:
        if args.undo:
            return told(undo_plan(args.source), "brought back")
        if args.apply:
            return apply(args)
        return plan(args, parser.error)
    except (PlanError, UndoError) as error:
        parser.error(str(error))
    except KeyboardInterrupt as interrupt:
        if args.apply or args.undo:
            raise KeyboardInterrupt("; the same command goes on") from interrupt
        raise KeyboardInterrupt(f"; nothing is kept: {SCORE_FIRST}, and cull FILE") from interrupt


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric cull",
        description="Decide which pictures to keep. First a plan, which you can edit; --apply moves what it rejects to "
        "another folder, with sidecars and RAW files, and --undo brings everything back. Nothing is ever deleted.",
        epilog="Exit status: 0 all is well, 1 a picture could not be scored or a file not moved, 2 wrong usage.",
    )
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help=f"a folder, or scores that were written ({suffixes()}); with --apply the plan, with --undo its undo file",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--keep", choices=PRESETS, default="normal", help=f"by score (default: normal); {presets()}")
    how.add_argument("--require", metavar="WHAT", help="keep what is so, such as 'score >= .5, std < .1'")
    add("--group", action="store_true", help="find bursts and near-duplicates, and rank the pictures of each by score")
    add("--keep-best", type=int, metavar="N", help="reject all but the best N of each group; implies --group")
    add("-o", "--output", metavar="PLAN", default=PLAN, help=f"where the plan goes (default: {PLAN})")
    add("--html", metavar="FILE", help="write a self-contained page of the decisions, too")
    add("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    do = parser.add_mutually_exclusive_group()
    do.add_argument("--apply", action="store_true", help="do what the plan SOURCE says")
    do.add_argument("--undo", action="store_true", help="take back what the undo file SOURCE names")
    add("--to", metavar="DIR", help="with --apply: where to; pictures go to DIR/reject")
    add(
        "--only",
        action="append",
        choices=[known.value for known in Decision],
        help="with --apply: which pictures; may be given several times (default: reject; with --link all)",
    )
    add("--link", action="store_true", help="with --apply: make symbolic links in DIR, and move nothing")
    add_metric_options(parser)
    return parser


def presets() -> str:
    """What the presets do, for the help."""
    return "; ".join(f"{name}: keep from {keep:g}, look from {look:g}" for name, (look, keep) in PRESETS.items())


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that contradict each other, before anything is loaded or written."""
    if args.apply and not args.to:
        refuse("--apply: expected --to DIR, the folder that pictures are moved to")
    if args.to and os.path.lexists(args.to) and not os.path.isdir(args.to):
        refuse(f"--to: expected a folder, got a file: {args.to}")
    if not args.apply and (args.to or args.link or args.only):
        refuse("--to, --link and --only: expected --apply")
    if args.apply or args.undo:
        return
    with refusing(refuse):
        check_options(threads=args.threads, keep_best=args.keep_best)
    args.group = args.group or args.keep_best is not None
    if not os.path.isdir(args.source) and Path(args.source).suffix.lower()[1:] not in FORMATS:
        refuse(f"{args.source}: expected a folder or a file of scores ({suffixes()})")
    check_target("-o", args.output, is_plan, [args.source], refuse, suffixes=("csv",))
    check_page("--html", args.html, [args.source, args.output], refuse)
    check_writable(args.output, args.html)


def plan(args: argparse.Namespace, refuse: Callable[[str], Any]) -> int:
    """Score, decide, write the plan and show it."""
    requirement = _requirement(args, refuse)
    rows, signature = _rows(args, requirement, refuse)
    decide = _decide(args, requirement, rows, refuse)
    base = args.source if os.path.isdir(args.source) else common_folder(row.path for row in rows)
    found = list(make_plan(rows, decide, base))
    if args.keep_best:
        found = keep_best(found, args.keep_best)
    try:
        write_plan(found, args.output)
        if args.html:
            write_decisions(
                found, args.html, title=args.source, rule=_rule(args), signature=signature, grouped=args.group
            )
    finally:  # a disk that is full by now leaves what was decided on the screen
        for planned in found:
            print(line(planned))
    counts = Counter(planned.decision for planned in found)
    warn(", ".join(f"{counts[known]:,} {known.value}" for known in Decision) + f"; the plan is {args.output}")
    return int(not found or any(planned.row.score is None for planned in found))


def line(planned: Planned) -> str:
    """A picture of the plan, on the screen."""
    score = "error" if planned.row.score is None else f"{planned.row.score:.{DECIMALS}f}"
    return "\t".join([planned.decision.value, score, shown(planned.row.path), *([planned.why] if planned.why else [])])


def apply(args: argparse.Namespace) -> int:
    """Do what a plan says."""
    named = args.only or ([known.value for known in Decision] if args.link else [Decision.REJECT.value])
    undo = f"{args.source}.undo"
    outcome = apply_plan(
        read_plan(args.source), args.to, undo, decisions=[Decision(name) for name in named], link=args.link
    )
    status = told(outcome, "linked" if args.link else "moved")
    warn(f"to take it back: qfm-metric cull --undo {undo}")
    return status


def told(outcome: Outcome, done: str) -> int:
    """Say what happened; the exit status."""
    for problem in outcome.problems[:SHOWN]:
        warn(f"left as it is: {shown(problem)}")
    more = len(outcome.problems) - SHOWN
    if more > 0:
        warn(f"and {more:,} more")
    warn(f"{outcome.done:,} files {done}, {outcome.before:,} in place already, {len(outcome.problems):,} problems")
    return int(bool(outcome.problems))


def _requirement(args: argparse.Namespace, refuse: Callable[[str], Any]) -> Requirement | None:
    if args.require is None:
        return None
    try:
        requirement = parse_requirement(args.require, NUMBERS)
    except RequirementError as error:
        refuse(f"--require: {error}")
        raise
    if os.path.isdir(args.source) and "lowest" in requirement.columns:
        refuse("--require: lowest: expected scores of tiles: qfm-metric FOLDER --tile PX --csv -o FILE, and cull FILE")
    return requirement


def _rows(
    args: argparse.Namespace, requirement: Requirement | None, refuse: Callable[[str], Any]
) -> tuple[list[Row], str]:
    """Score a folder, or read scores."""
    if not os.path.isdir(args.source):
        return _read(args, refuse)
    limit_threads(args.threads or 1)
    with Progress(Scan([args.source], args.recursive, quiet=True)) as progress:
        from ..folder.stream import score_files  # imports torch, which a plan of scores does without
        from .metric import check_device, load_metric

        check_device(args, refuse)
        metric = load_metric(args, refuse, args.device)
        paths, workers = workers_for(Scan([args.source], args.recursive))
        asked = {name for name, columns in ASKED.items() if requirement and requirement.columns & columns}
        asked |= {"moments"} if args.group else set()
        if "explain" in asked and not metric.defects:
            refuse(f"--require: expected weights that name defects, {metric.weights_id} do not; choose others")
        workers = workers if metric.device.type == "cpu" else 1
        told: dict[str, Any] = dict.fromkeys(asked, True)
        rows = list(progress.counted(score_files(paths, metric, workers=workers, projection="auto", **told)))
    if "moments" in asked:
        from ..folder.groups import group_rows

        rows = group_rows(rows)
    return rows, metric.signature


def _read(args: argparse.Namespace, refuse: Callable[[str], Any]) -> tuple[list[Row], str]:
    """Scores that were written."""
    try:
        rows, signature = read_table(args.source)
    except (OSError, ValueError) as error:
        refuse(reason(error))
        raise
    if args.group and any(row.score is not None and row.value("group") is None for row in rows):
        refuse(
            f"--group: expected the column group in {args.source}, which has no descriptors to find groups by; score "
            "again with qfm-metric PATH... --group, or cull the folder"
        )
    tell_missing(row.path for row in rows if row.score is not None)
    last = {os.path.abspath(row.path): row for row in rows}  # of two runs, written behind each other, the later one's
    if len(last) < len(rows):
        warn(f"{len(rows) - len(last):,} rows are of pictures that have another row further down, which is taken")
    return list(last.values()), signature


def _decide(
    args: argparse.Namespace, requirement: Requirement | None, rows: Sequence[Row], refuse: Callable[[str], Any]
) -> Decide:
    if requirement is None:
        return by_preset(args.keep)
    scored = [row for row in rows if row.score is not None]
    for name in () if os.path.isdir(args.source) else sorted(requirement.columns):  # of a folder, all was looked for
        if scored and all(row.value(name) is None for row in scored):
            refuse(f"--require: {name}: expected a column that is known of some picture; it is known of none")
    return by_requirement(requirement)


def _rule(args: argparse.Namespace) -> str:
    """What the decisions follow, for the page."""
    best = f"; at most {args.keep_best:,} of a group" if args.keep_best else ""
    if args.require is not None:
        return f"keep what has {args.require}{best}"
    look, keep = PRESETS[args.keep]
    return f"{args.keep}: keep from {keep:g}, look from {look:g}{best}"
