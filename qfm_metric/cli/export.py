"""`qfm-metric export`: write the metric, preprocessing included, for programs without this package.

A row per file goes to standard output: its path and the largest difference to the metric's scores that was seen, tab-
separated; messages go to standard error. Exit status: 0 fine, 1 a file could not be made, 2 wrong usage.
"""

from collections.abc import Sequence

from ..atomic import check_writable
from ..own_files import is_export
from ..weights import WeightsError
from .options import WEIGHTS_HELP
from .parser import Parser, warn
from .targets import check_target


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not (args.onnx or args.pt2):
        parser.error("expected --onnx FILE, --pt2 FILE or both")
    inputs = [args.weights] if args.weights else []
    check_target("--onnx", args.onnx, is_export("onnx"), inputs, parser.error, suffixes=("onnx",))
    inputs += [args.onnx] if args.onnx else []
    check_target("--pt2", args.pt2, is_export("pt2"), inputs, parser.error, suffixes=("pt2",))
    check_writable(args.onnx, args.pt2)
    from ..export import ExportError, export_onnx, export_pt2  # imports torch, which is slow
    from ..score import QFMScore

    try:
        metric = QFMScore.from_pretrained(args.weights)
    except WeightsError as error:
        parser.error(str(error))
    failed = 0
    for export, path in ((export_onnx, args.onnx), (export_pt2, args.pt2)):
        if not path:
            continue
        try:
            print(path, f"{export(metric, path):.1e}", sep="\t", flush=True)
        except ExportError as error:
            warn(str(error))
            failed += 1
        except OSError as error:
            warn(f"cannot write {path}: {error.strerror or error}")
            failed += 1
    return 1 if failed else 0


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(
        prog="qfm-metric export",
        description="Write the metric, preprocessing included, for programs without this package. Each file is run and "
        "compared with the metric before it gets its name.",
    )
    parser.add_argument("--onnx", metavar="FILE", help='ONNX, opset 18; needs pip install "qfm-metric[onnx]"')
    parser.add_argument("--pt2", metavar="FILE", help="a program of torch.export")
    parser.add_argument("--weights", metavar="ID", help=WEIGHTS_HELP)
    return parser
