"""Score any number of files."""

from .pool import DTYPES, SMALLEST_TILE, check_network, score_files

__all__ = ["DTYPES", "SMALLEST_TILE", "check_network", "score_files"]
