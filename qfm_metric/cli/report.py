"""`qfm-metric report SCORES`: the page of pictures that earlier runs scored, without scoring them again."""

from collections.abc import Sequence

from ..folder.journal import read_table, suffixes
from ..html.scores import LIMIT, write_report
from .parser import Parser, reason
from .paths import tell_missing
from .targets import check_page


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.limit < 1:
        parser.error(f"--limit: expected at least 1, got {args.limit}")
    check_page("-o", args.output, [args.scores], parser.error)
    try:
        rows, signature = read_table(args.scores)
    except (OSError, ValueError) as error:
        parser.error(reason(error))
    tell_missing(row.path for row in rows if row.score is not None)
    write_report(rows, args.output, title=args.title or args.scores, signature=signature, limit=args.limit)
    return 0


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric report",
        description="Write a self-contained HTML page of pictures that are scored already, worst first.",
        epilog="Paths in SCORES are looked up from the current folder, as they were when the pictures were scored.",
    )
    parser.add_argument("scores", metavar="SCORES", help=f"what qfm-metric wrote to a file ({suffixes()})")
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="default: report.html")
    parser.add_argument("--title", help="headline (default: the name of SCORES)")
    parser.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help=f"most pictures, the worst (default: {LIMIT})"
    )
    return parser
