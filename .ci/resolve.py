"""Find wheels of all that the package and each of its extras need, for every Python of its classifiers.

    python .ci/resolve.py                              # on Linux, macOS and Windows
    python .ci/resolve.py --python 3.13 --extra train  # one of them, and the package without extras

Nothing is installed: uv asks the package index which wheels there are, and what these need. pip would not do, as it
takes `python_version` in a requirement for the Python that it runs on, whatever its `--python-version` says.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "Programming Language :: Python :: "
SYSTEMS = ["linux", "macos", "windows"]
# Published as source alone: needed by brisque (extra `restoration`) and by pyiqa. Of all others there must be a wheel.
FROM_SOURCE = ["libsvm-official", "openai-clip"]


class ResolutionError(Exception):
    """Something that is needed has no wheel, or two needs contradict each other; in the words of uv."""


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command on the checkout `root`; returns the exit status."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = list(project["optional-dependencies"])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=pythons(project), metavar="VERSION", help="default: all")
    parser.add_argument("--system", nargs="+", choices=SYSTEMS, default=SYSTEMS, help="default: all")
    parser.add_argument("--extra", nargs="+", choices=extras, default=extras, help="default: all")
    args = parser.parse_args(argv)
    failed = 0
    for version, system in itertools.product(args.python, args.system):
        # What resolves with all extras does with each; where it does not, they may only contradict each other.
        if not found(root, version, system, args.extra):
            alone = [[], *([extra] for extra in args.extra)]
            failed += sum(not found(root, version, system, few) for few in alone)
    print(f"{failed} failed" if failed else "all resolve")
    return int(failed > 0)


def pythons(project: dict[str, Any]) -> list[str]:
    """The versions of Python that the classifiers name, such as 3.10."""
    names = [line.removeprefix(PYTHON) for line in project["classifiers"] if line.startswith(PYTHON)]
    return [name for name in names if "." in name]


def found(root: Path, version: str, system: str, extras: Sequence[str]) -> bool:
    """Whether the package with some extras resolves; says so."""
    asked = f"Python {version}, {system}, {' '.join(extras) or 'no extra'}"
    try:
        print(f"{asked}: {len(resolve(root, version, system, extras))} packages", flush=True)
    except ResolutionError as error:
        print(f"{asked}: FAILED\n{error}", flush=True)
        return False
    return True


def resolve(root: Path, version: str, system: str, extras: Sequence[str]) -> list[str]:
    """What would be installed on a version of Python and a system: lines such as `numpy==2.2.6`.

    Raises:
        ResolutionError: nothing can be.
    """
    where = ["--python-version", version, "--python-platform", system]
    wheels = ["--only-binary", ":all:", *pairs("--no-binary", FROM_SOURCE)]
    what = [str(root / "pyproject.toml"), *pairs("--extra", extras)]
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    done = subprocess.run([*uv, *where, *wheels, *what], capture_output=True, text=True)
    if done.returncode:
        raise ResolutionError(done.stderr)
    return done.stdout.splitlines()


def pairs(option: str, values: Sequence[str]) -> list[str]:
    return list(itertools.chain(*((option, value) for value in values)))


if __name__ == "__main__":
    sys.exit(main())
