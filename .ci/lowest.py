"""Test on the lowest versions of the dependencies that pyproject.toml allows, in an environment made for it.

    python .ci/lowest.py                      # on Linux torch brings gigabytes of CUDA
    python .ci/lowest.py --torch-backend cpu  # without them, where PyTorch's own index can be reached
    python .ci/lowest.py --python 3.10        # on another Python than the one that runs this

Of each dependency it is the lowest version with a wheel for the Python: no later Python has wheels of NumPy 1.26.
Tests that need an extra, or take more than a second or two, are not for this: the question is whether everything is
imported, weights load and scores are what they are elsewhere.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["test_golden.py", "test_call_styles.py", "test_loss.py", "test_images.py", "test_weights.py", "test_hub.py"]
TESTING = ["pytest>=8", "filelock", "scikit-image>=0.22", "pillow-heif>=0.18"]  # scikit-image brings the photographs
DEPRECATED = "ignore:`torch.cpu.amp.autocast:FutureWarning"  # by torch 2.4, which itself uses it for checkpoints
UV = [sys.executable, "-m", "uv"]


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, metavar="VERSION-OR-PATH", help="default: what runs this")
    parser.add_argument(
        "--torch-backend", metavar="NAME", help="what uv takes, such as cpu; default: the package index"
    )
    args = parser.parse_args(argv)
    try:
        return test(args.python, ["--torch-backend", args.torch_backend] if args.torch_backend else [])
    except subprocess.CalledProcessError as error:  # of uv, which has said why
        return int(error.returncode)


def test(interpreter: str, builds: list[str]) -> int:
    """Install and test; returns the exit status of the tests.

    Raises:
        subprocess.CalledProcessError: what is needed cannot be installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(Path(folder, "venv"), interpreter)
        versions = Path(folder, "lowest.txt")
        versions.write_text(lowest(ROOT / "pyproject.toml", interpreter, builds), encoding="utf-8")
        print(versions.read_text(encoding="utf-8"), end="", flush=True)
        what = ["--python", str(python), "--constraint", str(versions), *builds]
        subprocess.run([*UV, "pip", "install", "--quiet", *what, str(ROOT), *TESTING], check=True)
        tests = [str(ROOT / "tests" / name) for name in TESTS]
        options = ["--quiet", "-m", "not slow", "-W", DEPRECATED, "-p", "no:cacheprovider"]
        pytest = str(python.with_name("pytest"))  # `python -m pytest` would import the checkout
        return subprocess.run([pytest, *options, *tests], cwd=ROOT, env=environment()).returncode


def make_environment(folder: Path, python: str) -> Path:
    """Make an empty environment for a version of Python, or the interpreter at a path; returns its interpreter."""
    subprocess.run([*UV, "venv", "--quiet", "--python", python, str(folder)], check=True)
    return next(path for path in folder.glob("*/python*") if path.stem == "python")


def lowest(pyproject: Path, python: str, builds: list[str]) -> str:
    """The lowest version with a wheel of each dependency of a `pyproject.toml`, and what these need, a line each."""
    what = ["--resolution", "lowest-direct", "--only-binary", ":all:", "--python", python, *builds]
    asked = [*UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *what, str(pyproject)]
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout


def environment() -> dict[str, str]:
    """What is installed is tested, not what a checkout on the path would bring."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


if __name__ == "__main__":
    sys.exit(main())
