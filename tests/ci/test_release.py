"""The release command, run dry on a small project: what it refuses, what it builds, and that it uploads nothing."""

import subprocess
import sys
import tarfile
import zipfile

import pytest
from helpers.ci_scripts import ROOT, load_ci_script

REPOSITORY = "https://github.com/somebody/something"  # there is none: made up for these tests alone
BASE = f"{REPOSITORY}/blob/v0.1.0"

release = load_ci_script("release")


def git(root, *arguments):
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path):
    """A checkout with our metadata and documents, and a package of one module."""
    root = tmp_path / "project"
    (root / "qfm_metric").mkdir(parents=True)
    for name in ("README.md", "LICENSE", "weights_manifest.json", ".gitignore"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    (root / "qfm_metric/__init__.py").write_text('__version__ = "0.1.0"\n')
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-12-24)\n\n- All.\n")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'repository = ""' in text  # until there is one
    (root / "pyproject.toml").write_text(text.replace('repository = ""', f'repository = "{REPOSITORY}"'))
    git(root, "init", "--quiet")
    commit(root)
    return root


def commit(root):
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All")


def replace(root, name, old, new):
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new), encoding="utf-8")
    commit(root)


def run(root, *arguments):
    return release.main([*arguments, "--offline"], root)


def test_this_checkout_has_no_repository_and_is_refused(capsys):
    assert run(ROOT) == 1
    assert "[tool.qfm-metric] repository: expected the public repository's address" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["", "github.com/a/b", "https://github.com/a/b/", "https://github.com/OWNER"])
def test_what_is_no_address_of_a_repository_is_refused(project, address, capsys):
    replace(project, "pyproject.toml", REPOSITORY, address)
    assert run(project) == 1
    assert f"got {address!r}; set it and commit it" in capsys.readouterr().err
    assert not (project / "dist").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("qfm_metric/__init__.py", "0.1.0", "0.2.0", "expected the version 0.1.0 of pyproject.toml"),
        ("CHANGELOG.md", "0.1.0 (2026-12-24)", "Unreleased", "expected '## 0.1.0 (YEAR-MONTH-DAY)'"),
    ],
)
def test_files_that_differ_about_the_version_are_refused(project, name, old, new, says, capsys):
    replace(project, name, old, new)
    assert run(project) == 1
    assert says in capsys.readouterr().err


def test_the_citation_is_written_and_must_be_committed(project, capsys):
    assert run(project) == 1
    assert "CITATION.cff was written anew: commit it" in capsys.readouterr().err
    written = (project / "CITATION.cff").read_text(encoding="utf-8")
    for line in (f"repository-code: {REPOSITORY}", "version: 0.1.0", "date-released: 2026-12-24"):
        assert f"\n{line}\n" in written
    assert run(project) == 1
    assert "expected a checkout in which everything is committed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_builds_and_checks_and_uploads_nothing(project, monkeypatch, capfd):
    commands = []
    monkeypatch.setattr(release, "run", lambda *command, real=release.run: (commands.append(command), real(*command)))
    run(project)
    commit(project)
    assert run(project) == 0
    assert [command[2] for command in commands] == ["build", "twine"]  # python -m ...
    assert commands[1][3] == "check"
    assert "[ ] git tag -a v0.1.0" in capfd.readouterr().out

    wheel, sdist = sorted((project / "dist").iterdir())
    with zipfile.ZipFile(wheel) as archive:
        about = archive.read("qfm_metric-0.1.0.dist-info/METADATA").decode()
    assert f"Project-URL: Source, {REPOSITORY}\n" in about
    assert f"Project-URL: Changelog, {BASE}/CHANGELOG.md\n" in about
    links = [match["target"] for match in release.LINK.finditer(about)]
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    assert f"({REPOSITORY}/raw/v0.1.0/docs/report.jpg)" in about
    with tarfile.open(sdist) as archive:
        assert archive.extractfile("qfm_metric-0.1.0/CITATION.cff").read() == (project / "CITATION.cff").read_bytes()
    assert (project / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()

    assert run(project) == 1
    assert "expected an empty folder" in capfd.readouterr().err


def test_only_the_flag_uploads_and_only_after_every_check(project, monkeypatch):
    commands = []

    def record(*command):
        commands.append(" ".join(command[1:4]))
        if "build" in command:
            (project / "dist").mkdir()
            for name in ("a.tar.gz", "a.whl"):
                (project / "dist" / name).touch()

    monkeypatch.setattr(release, "run", record)
    release.main([], project)  # writes the citation
    commit(project)
    assert release.main(["--upload"], project) == 0
    asked = [f"{project}/.ci/resolve.py", f"{project}/.ci/lowest.py"]
    assert commands == ["-m build --no-isolation", "-m twine check", *asked, "-m twine upload"]


def test_links_of_code_and_links_that_are_absolute_stay():
    text = "# T\n\n[a](b.md#c) [d](#e) ![p](f.jpg) [x](https://x.org)\n\n```python\ny[0](z)\n```\n"
    found = release.absolute(text, REPOSITORY, "v0.1.0")
    assert f"[a]({BASE}/b.md#c) [d]({BASE}/README.md#e) ![p]({REPOSITORY}/raw/v0.1.0/f.jpg) [x](https://x.org)" in found
    assert "y[0](z)" in found
    assert found.startswith(
        f"# T\n\n[![Version](https://img.shields.io/github/v/tag/somebody/something)]({REPOSITORY}/tags)"
    )


def test_the_command_says_what_it_does():
    done = subprocess.run([sys.executable, str(ROOT / ".ci/release.py"), "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--upload" in done.stdout
