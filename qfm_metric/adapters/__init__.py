"""QFMScore in the forms that other libraries expect. Each module needs the extra of its name.

Nothing is imported here: `from qfm_metric.adapters.torchmetrics import QFMMetric` loads torchmetrics, and only that.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports in this block that fail say which extra of this package to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{error}; run: pip install "qfm-metric[{extra}]"', name=error.name) from error
