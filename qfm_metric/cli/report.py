"""`qfm-metric report SCORES`: the page of pictures that earlier runs scored, without scoring them again.

Exit status: 0 written, 1 the page cannot be written, 2 wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence

from ..folder.formats import RESULT_SUFFIXES, read_results
from ..html.scores import LIMIT, write_report


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.limit < 1:
        parser.error(f"--limit: expected at least 1, got {args.limit}")
    try:
        rows, report = read_results(args.scores)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        write_report(rows, args.output, title=args.title or args.scores, report_string=report, limit=args.limit)
    except OSError as error:
        print(f"qfm-metric: cannot write {args.output}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="qfm-metric report",
        description="Write a self-contained HTML page of pictures that are scored already, worst first.",
        epilog="Paths in SCORES are looked up from the current folder, as they were when the pictures were scored.",
    )
    parser.add_argument(
        "scores", metavar="SCORES", help=f"what qfm-metric wrote to a file ({', '.join(RESULT_SUFFIXES)})"
    )
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="default: report.html")
    parser.add_argument("--title", help="headline (default: the name of SCORES)")
    parser.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help=f"most pictures, the worst (default: {LIMIT})"
    )
    return parser
