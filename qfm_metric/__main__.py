"""`qfm-metric`, which `python -m qfm_metric` is, too. Imports next to nothing: an interrupt may come at once."""

import sys


def main() -> int:
    """Run the command; returns the exit status."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before the command listens for one, or once it does no more
        if sys.stderr:
            sys.stderr.write("qfm-metric: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
