"""`python -m qfm_metric.train COMMAND`: from a data set to a weights file with measured figures."""

import argparse
import sys
from collections.abc import Callable

from .cli import student as cli_student
from .cli import weights as cli_weights
from .cli.student import say


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m qfm_metric.train", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=run.__doc__,
            description=run.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
        return sub

    cli_student.add_commands(command)
    cli_weights.add_commands(command)
    return root


def main() -> int:
    args = parser().parse_args()
    try:
        args.run(args)
    except ValueError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
