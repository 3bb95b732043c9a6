"""Test on the lowest versions of the dependencies that pyproject.toml allows, in an environment made for it.

    python .ci/lowest.py           # of torch the lowest version that pip finds a CPU build of, if it finds any
    python .ci/lowest.py --exact   # the lowest of torch, too, which on Linux may bring gigabytes of CUDA

Tests that need an extra, or take more than a second or two, are not for this: the question is whether everything is
imported, weights load and scores are what they are elsewhere.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["test_golden.py", "test_call_styles.py", "test_loss.py", "test_images.py", "test_weights.py", "test_hub.py"]
TESTING = ["pytest>=8", "filelock", "scikit-image>=0.22", "pillow-heif>=0.18"]  # scikit-image brings the photographs
DEPRECATED = "ignore:`torch.cpu.amp.autocast:FutureWarning"  # by torch 2.4, which itself uses it for checkpoints


def main() -> int:
    """Run the command; returns the exit status of the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exact", action="store_true", help="no later torch for the sake of a CPU build")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(next(path for path in Path(folder).glob("*/python*") if path.stem == "python"))
        bounds = lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        if not args.exact:
            bounds["torch"] = cpu_build(bounds["torch"], available(python, "torch"))
        bounds["torchvision"] = torchvision_for(bounds["torch"])  # needed by timm; pip would try one after another
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in bounds.items()), encoding="utf-8")
        print(constraints.read_text(encoding="utf-8"), end="", flush=True)
        install = ["install", "--quiet", "--no-compile", "--constraint", str(constraints)]
        subprocess.run([python, "-m", "pip", *install, str(ROOT), *TESTING], check=True)
        tests = [str(ROOT / "tests" / name) for name in TESTS]
        options = ["--quiet", "-m", "not slow", "-W", DEPRECATED, "-p", "no:cacheprovider"]
        pytest = str(Path(python).with_name("pytest"))  # `python -m pytest` would import the checkout
        return subprocess.run([pytest, *options, *tests], cwd=ROOT, env=environment()).returncode


def lowest(pyproject: str) -> dict[str, str]:
    """The lowest version of each dependency that a `pyproject.toml` allows, by name."""
    lines = tomllib.loads(pyproject)["project"]["dependencies"]
    return dict(line.split(">=") for line in lines)


def available(python: str, package: str) -> list[str]:
    """The versions of a package that pip finds for an interpreter."""
    asked = [python, "-m", "pip", "index", "versions", package]
    found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    listed = re.search(r"^Available versions: (.*)$", found, re.M)
    return listed[1].split(", ") if listed else []


def cpu_build(bound: str, versions: list[str]) -> str:
    """The lowest version from `bound` on that is marked as a CPU build, or `bound` if there is none."""
    builds = [version for version in versions if version.endswith("+cpu") and numbers(version) >= numbers(bound)]
    return min(builds, key=numbers, default=bound)


def torchvision_for(torch: str) -> str:
    """The versions of torchvision that are made for a version of torch: 0.19.* for 2.4."""
    return f"0.{numbers(torch)[1] + 15}.*"


def numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


def environment() -> dict[str, str]:
    """What is installed is tested, not what a checkout on the path would bring."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


if __name__ == "__main__":
    sys.exit(main())
