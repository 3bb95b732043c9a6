"""`qfm-metric PATH...`: score pictures. A row per picture in the order given, to standard output or `-o FILE`."""

import argparse
import difflib
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

from .. import __version__
from ..defects import NAMES
from ..folder.formats import FORMATS
from ..folder.options import (
    BATCH_SIZE,
    DTYPES,
    PROJECTIONS,
    RUNTIMES,
    check_options,
    check_projection,
    check_runtime,
)
from ..folder.row import COLUMNS, DEFECT_COLUMNS, FACT_COLUMNS, GROUP_COLUMNS, NUMBERS
from ..requirements import RequirementError, parse_requirement
from . import COMMANDS, ray, xmp
from .options import add_format_options, add_metric_options, limit_threads, option_of, refusing
from .output import format_of, status_of
from .parser import Parser
from .paths import Scan
from .progress import Progress
from .targets import check_page, check_table, check_target, is_table, output_file

WHOLE = ("batch_size", "workers", "threads", "tile")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_any_order(argv)
    check(args, parser.error)
    limit_threads(args.threads or 1)
    known = args.engine == "local" and "-" not in args.paths
    everything = Scan(args.paths, args.recursive, args.map, quiet=True) if known else None
    with Progress(everything, args.quiet) as progress:
        from .run import run  # imports torch, which is slow; whoever asks for help does not wait for it

        done = run(args, progress, parser.error)
    return status_of(done, args.fail_under, *(() if args.recursive else args.paths))


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric",
        description="How good does each picture look? A score from 0 (bad) to 1 (excellent), no reference needed.",
        epilog="A folder stands for the pictures in it. Exit status: 0 all scored, 1 some failed, 2 wrong usage, "
        "3 below --fail-under or not as --require asks. See also: qfm-metric weights, report, compare, cull, watch or "
        "export --help; folders of these names are ./weights and so on",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="files, folders, globs, or - for a path per line on stdin")
    add_format_options(parser, FORMATS)
    add("-0", "--null", action="store_true", help="paths on stdin end with NUL, as those of find -print0")
    add("-o", "--output", type=output_file, metavar="FILE", help=f"write results to FILE; columns: {','.join(COLUMNS)}")
    add("--html", metavar="FILE", help="write a self-contained page of the pictures, worst first, too")
    add("--map", metavar="DIR", help="draw the quality map over each picture, into DIR; the column map says where")
    xmp.add_options(parser)
    add("--resume", action="store_true", help="keep the rows that FILE has, score only what is missing")
    add("-r", "--recursive", action="store_true", help="look into the folders of folders, too")
    add("--sort", choices=("best", "worst"), help="rows in order of score at the end, this end first")
    add("--top", type=int, metavar="N", help="only the first N rows of --sort (default: best)")
    add("--fail-under", type=float, metavar="X", help="exit with 3 if a score is below X")
    add(
        "--max-pixels",
        type=int,
        metavar="N",
        help="decode pictures of up to N pixels (default: 178956970; more may be a bomb)",
    )
    add("--tile", type=int, metavar="PX", help="score tiles of about PX x PX; the mean, and the lowest")
    add(
        "--projection",
        choices=PROJECTIONS,
        default="auto",
        help="equirect: panoramas of the whole sphere, scored through viewports (docs/panoramas.md); auto (default): "
        "those whose GPano tags say so, unless there are tiles",
    )
    add(
        "--explain",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help="what is wrong with each picture: the columns top_defect, and what each defect costs, from 0 to 1: "
        + ", ".join(NAMES),
    )
    add("--require", metavar="TEXT", help='exit with 3 unless every picture is so, as in "score >= .5, noise < .2"')
    add(
        "--facts",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help=f"what each file says of itself (docs/facts.md); columns: {','.join(FACT_COLUMNS)}",
    )
    add(
        "--group",
        action="store_true",
        default=None,  # as in FILE.run.json of a run without it
        help="find bursts and near-duplicates (docs/culling.md); rows come when all are scored, with the columns "
        + ", ".join(GROUP_COLUMNS),
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes (default: 128 pictures or more get one for each core that may be used; a list on stdin one); "
        "on a GPU threads that decode (default: 1)",
    )
    add_metric_options(parser)
    add("--dtype", choices=DTYPES, default="float32", help="precision of the network; only float32 gives exact scores")
    add(
        "--runtime",
        choices=("auto", "torch", *RUNTIMES),
        default="auto",
        help="what computes the network on a CPU; auto: the fastest that is installed (pip install 'qfm-metric[fast]') "
        "for 128 pictures or more, with scores within 1e-5 of torch's",
    )
    add("--batch-size", type=int, default=BATCH_SIZE, metavar="N", help="pictures at a time, on a GPU (default: 64)")
    add("--engine", choices=("local", "ray"), default="local", help="score on a Ray cluster (docs/clusters.md)")
    add("--num-gpus", type=float, metavar="X", help="ray: part of a GPU that each worker takes (default: 1)")
    add("--column", metavar="NAME", help="ray: of tables, the column with paths, URIs or images (default: path)")
    add("--quiet", action="store_true", help="no progress")
    add("--version", action="version", version=f"qfm-metric {__version__}")
    parser._has_negative_number_optionals.clear()  # because of -0, argparse takes -1 for an option and not for a value
    return parser


def check(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse options that are out of range or contradict each other, before anything is loaded or written."""
    for name in {*COMMANDS} & {*args.paths}:
        if not os.path.lexists(name):
            refuse(f"{name}: expected this command before all options, or a file or folder of that name")
    near = difflib.get_close_matches(args.paths[0], COMMANDS, n=1, cutoff=0.7)
    if near and not os.path.lexists(args.paths[0]):
        refuse(f"{args.paths[0]}: expected a file, a folder or a command; did you mean `qfm-metric {near[0]}`?")
    with refusing(refuse, maps="map"):
        check_options(**{name: getattr(args, name) for name in WHOLE})
        check_projection(args.projection, args.tile)
        check_runtime(RUNTIMES.get(args.runtime, "torch"), args.dtype, args.tile, args.map)
    if args.top is not None and args.top < 1:
        refuse(f"--top: expected at least 1, got {args.top}")
    if args.max_pixels is not None and args.max_pixels < 1:
        refuse(f"--max-pixels: expected at least 1, got {args.max_pixels}")
    if args.fail_under is not None and not 0 <= args.fail_under <= 1:
        refuse(f"--fail-under: expected a score from 0 to 1, got {args.fail_under}")
    check_requirement(args, refuse)
    check_output(args, refuse)
    if args.runtime in RUNTIMES and args.device.split(":")[0] != "cpu":
        refuse(f"--runtime {args.runtime}: expected --device cpu, got {args.device}; leave one of the two out")
    ray.check(args, refuse)
    xmp.check(args, refuse)


def check_requirement(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Read what is required; what is asked about is looked for without a further option."""
    if args.require is not None:
        try:
            args.require = parse_requirement(args.require, NUMBERS)
        except RequirementError as error:
            refuse(f"--require: {error}")
        args.explain = args.explain or bool(args.require.columns & DEFECT_COLUMNS.keys()) or None
        args.facts = args.facts or bool(args.require.columns & FACT_COLUMNS.keys()) or None
        args.group = args.group or bool(args.require.columns & GROUP_COLUMNS.keys()) or None
    if args.group and args.tile:
        option = option_of(args, "--group", GROUP_COLUMNS)
        refuse(f"{option}: expected whole pictures, got --tile; leave one of the two out")
    if args.explain and args.tile:
        option = option_of(args, "--explain", DEFECT_COLUMNS)
        refuse(f"{option}: expected whole pictures, got --tile; leave one of the two out")


def check_output(args: argparse.Namespace, refuse: Callable[[str], Any]) -> None:
    """Refuse files and folders that what was asked for cannot go to."""
    form = format_of(args.format)
    if form.convert and not args.output:
        refuse(f"--{args.format}: expected -o FILE; it cannot be streamed to standard output")
    if form.package and importlib.util.find_spec(form.package) is None:
        refuse(f"--{args.format}: expected {form.package} to be installed; pip install 'qfm-metric[{form.extra}]'")
    check_table("-o", args.output, args.format, args.paths, refuse)
    if args.output and form.convert:
        check_target("-o", f"{args.output}.jsonl", is_table("jsonl"), args.paths, refuse)
    check_page("--html", args.html, [*args.paths, *filter(None, [args.output])], refuse)
    if args.map and os.path.lexists(args.map) and not os.path.isdir(args.map):
        refuse(f"--map: expected a folder, got a file: {args.map}")
    if args.map and any(
        os.path.isdir(path) and os.path.abspath(path) == os.path.abspath(args.map) for path in args.paths
    ):
        refuse(f"--map: expected another folder than the pictures', got {args.map}; *.png would be maps, too")
    if args.resume and not (args.output and form.resumable):
        names = ", ".join(f"--{name}" for name, known in FORMATS.items() if known.resumable)
        refuse(f"--resume: expected -o FILE and one of {names}")
    if args.resume and (args.sort or args.top):
        refuse("--resume: expected rows in the order of the pictures, got --sort or --top; sort FILE afterwards")
    if args.resume and args.group:
        refuse("--resume: expected rows that can be written one by one, got --group; leave one of the two out")
