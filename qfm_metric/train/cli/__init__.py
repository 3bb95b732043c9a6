"""The commands of `python -m qfm_metric.train`: options only."""

import argparse
from collections.abc import Callable
from concurrent.futures import BrokenExecutor

import torch

from ...cli.parser import Parser, reason
from ...folder.options import check_options
from . import heads, options, student, weights


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    about = "From a data set to a weights file with measured figures."
    root = Parser(prog="python -m qfm_metric.train", description=about)
    commands = root.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        formatter = argparse.ArgumentDefaultsHelpFormatter
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__, formatter_class=formatter)
        sub.set_defaults(run=run)
        options.add(sub, "--threads")
        return sub

    student.add_commands(command)
    heads.add_commands(command)
    weights.add_commands(command)
    return root


def main() -> int:
    """Run the command that the process was called with; returns its exit status."""
    args = parser().parse_args()
    try:
        check_options(threads=args.threads)
        torch.set_num_threads(args.threads)
        options.check_outputs(args)
        args.run(args)
    except (ValueError, OSError) as error:
        options.say(f"error: {reason(error)}")
        return 1
    except BrokenExecutor:
        options.say("error: a worker process ended, for want of memory perhaps; try again with fewer --workers")
        return 1
    except RuntimeError as error:  # timm, where it is imported
        if "torchvision::" not in str(error):
            raise
        options.say(f"error: {error}: expected builds of torch and torchvision that fit, install both from one index")
        return 1
    except KeyboardInterrupt:
        options.say("error: interrupted")
        return 130
    return 0
