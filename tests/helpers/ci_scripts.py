"""The scripts of .ci, which no package holds."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def load_ci_script(name):
    """The module of `.ci/NAME.py`."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f".ci/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
