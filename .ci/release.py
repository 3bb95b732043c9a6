"""Publish the package: check, build, check what was built, and say what is left for people to do.

    python .ci/release.py            # everything but the upload: sdist and wheel in dist/, and a list to sign off
    python .ci/release.py --upload   # and upload them

The repository's address stands in `pyproject.toml`, `[tool.qfm-metric] repository`, and nowhere else. From it come the
package's links, badges, CITATION.cff, and absolute links in README.md, which has no folder beside it where packages are
shown. All but CITATION.cff is written into a copy of the tree, so that the checkout's links lead into the checkout.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = re.compile(r"https://github\.com/[\w.-]+/[\w.-]*[\w-]")
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"(^```.*?^```\s*?$)", re.M | re.S)
PAPER = (
    "Adaptive Feature Selection for No-Reference Image Quality Assessment by Mitigating Semantic Noise Sensitivity",
    "International Conference on Machine Learning",
    2024,
)
SIGN_OFF = """\
Only a person can say:
[ ] .ci/run passes on this commit
[ ] benchmarks/regression.py: scores as in the last version, nothing slower without a reason
[ ] new weights: one run on the test part, in docs/test-runs.md; figures in README.md and the manifest
[ ] CHANGELOG.md: what users must do comes first
[ ] the wheel in a fresh environment: README.md and docs/own-data.md as printed
[ ] git tag -a v{version} -m "Version {version}" on this commit, pushed with it
[ ] python .ci/release.py --upload, and then the weights (docs/releasing-weights.md)"""


class ReleaseError(Exception):
    """Something is not ready to be published; says what to do."""


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command on the checkout `root`; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=root / "dist", metavar="FOLDER", help="default: dist")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--upload", action="store_true", help="upload what was built, once all checks have passed")
    what.add_argument("--offline", action="store_true", help="leave out the checks that ask a package index")
    args = parser.parse_args(argv)
    try:
        release(root, args.out, upload=args.upload, offline=args.offline)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def release(root: Path, out: Path, *, upload: bool, offline: bool) -> None:
    """Check and build; upload only if asked to.

    Raises:
        ReleaseError: something is not ready.
    """
    about = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    repository, project = about["tool"]["qfm-metric"]["repository"], about["project"]
    if not REPOSITORY.fullmatch(repository):
        raise ReleaseError(
            "pyproject.toml, [tool.qfm-metric] repository: expected the public repository's address, "
            f"https://github.com/OWNER/NAME, got {repository!r}; set it and commit it"
        )
    date = check_version(root, project["version"])
    write_citation(root, project, repository, date)
    if changed := git(root, "status", "--porcelain"):
        raise ReleaseError(
            f"expected a checkout in which everything is committed, got changes; commit them:\n{changed}"
        )
    if out.exists() and any(out.iterdir()):
        raise ReleaseError(f"{out}: expected an empty folder, got one with files; delete them")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(root, tree)
        prepare(tree, project, repository)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree))
    built = sorted(str(path) for path in out.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *built)
    done = ["version, changelog and CITATION.cff agree; all is committed", "built, and twine check passes"]
    if not offline:
        run(sys.executable, str(root / ".ci/resolve.py"))
        done.append("wheels of all dependencies and extras for each Python on Linux, macOS and Windows")
        run(sys.executable, str(root / ".ci/lowest.py"))
        done.append("scores on the lowest versions of the dependencies")
    print("\n".join(["", *built, "", "Checked:", *(f"[x] {line}" for line in done)]))
    if offline:
        print("[ ] not checked, as nothing was asked of a package index: resolution for each Python, lowest versions")
    if upload:
        run(sys.executable, "-m", "twine", "upload", *built)
    else:
        print("\n" + SIGN_OFF.format(version=project["version"]))


def check_version(root: Path, version: str) -> str:
    """The date of the version, from its heading in CHANGELOG.md.

    Raises:
        ReleaseError: the files differ about what the version is.
    """
    if f'__version__ = "{version}"' not in (root / "qfm_metric/__init__.py").read_text(encoding="utf-8"):
        raise ReleaseError(f"qfm_metric/__init__.py: expected the version {version} of pyproject.toml; make them agree")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    first = next((line for line in changes.splitlines() if line.startswith("## ")), "")
    if not (heading := re.fullmatch(rf"## {re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)", first)):
        raise ReleaseError(
            f"CHANGELOG.md: expected '## {version} (YEAR-MONTH-DAY)' as its first heading, got {first!r}; rename it"
        )
    return heading[1]


def write_citation(root: Path, project: dict[str, Any], repository: str, date: str) -> None:
    """Bring CITATION.cff of the checkout up to date; it has to be committed.

    Raises:
        ReleaseError: it was not.
    """
    title, conference, year = PAPER
    lines = [
        "# Written by .ci/release.py.",
        "cff-version: 1.2.0",
        "message: Please cite the paper for the method, and this software with its version and weights id for scores.",
        "title: qfm_metric",
        "type: software",
        "authors:",
        "  - name: The contributors to qfm_metric",
        f"version: {project['version']}",
        f"date-released: {date}",
        f"license: {project['license']}",
        f"repository-code: {repository}",
        "references:",
        "  - type: conference-paper",
        f"    title: {title}",
        "    authors:",
        "      - {family-names: Li, given-names: Xudong}",
        "      - name: others",
        f"    collection-title: {conference}",
        f"    year: {year}",
    ]
    path, content = root / "CITATION.cff", "\n".join(lines) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return
    path.write_text(content, encoding="utf-8", newline="\n")
    raise ReleaseError("CITATION.cff was written anew: commit it, and run this again")


def copy_tree(root: Path, tree: Path) -> None:
    """Copy what git tracks: nothing that is ignored gets into what is published."""
    for name in filter(None, git(root, "ls-files", "-z").split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tree / name)


def prepare(tree: Path, project: dict[str, Any], repository: str) -> None:
    """Write the repository's address into a tree that is to be built."""
    tag = f"v{project['version']}"
    readme = tree / "README.md"
    readme.write_text(absolute(readme.read_text(encoding="utf-8"), repository, tag), encoding="utf-8", newline="\n")
    urls = {
        "Source": repository,
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    with (tree / "pyproject.toml").open("a", encoding="utf-8", newline="\n") as file:
        file.write("\n[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in urls.items()))


def absolute(text: str, repository: str, tag: str) -> str:
    """A README's Markdown with badges under its title, and links and pictures that lead into the repository."""

    def lead(link: re.Match[str]) -> str:
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            return link[0]
        target = f"README.md{target}" if target.startswith("#") else target
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}[{link['text']}]({repository}/{kind}/{tag}/{target})"

    parts = FENCE.split(text)  # code is every second one
    text = "".join(part if i % 2 else LINK.sub(lead, part) for i, part in enumerate(parts))
    shown = repository.removeprefix("https://github.com/")
    badges = [
        f"[![{name}](https://img.shields.io/github/{what}/{shown})]({repository}/{where})"
        for name, what, where in (("Version", "v/tag", "tags"), ("Licence", "license", f"blob/{tag}/LICENSE"))
    ]
    title, rest = text.split("\n", 1)
    return "\n".join([title, "", " ".join(badges), rest])


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


def run(*command: str) -> None:
    """Run a command that must succeed.

    Raises:
        ReleaseError: it did not; what it printed is above.
    """
    if subprocess.run(command).returncode:
        raise ReleaseError(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
