"""`qfm-metric`, which `python -m qfm_metric` is, too."""

import _signal  # type: ignore[import-not-found]  # in C: `signal` takes longer to import than all that comes before it
import sys


def main() -> int:
    """Run the command; returns the exit status.

    Until it listens for Ctrl-C, that ends the process without a word: raised in an import, it would leave a traceback.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # and is not ignored
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from .cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
