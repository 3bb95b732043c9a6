"""Environment of the processes that tests start."""

import os
from pathlib import Path

import qfm_metric


def environment(*folders):
    """This process's, where Python finds this checkout, and `folders` before it; one thread."""
    path = os.pathsep.join(map(str, [*folders, Path(qfm_metric.__file__).parents[1]]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
