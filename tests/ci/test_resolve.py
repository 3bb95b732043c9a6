"""The search for wheels, on packages made here: for which Python and system, and what it says where there is none."""

import pytest
from helpers.ci_scripts import load_ci_script
from helpers.package_files import look_only_in, make_sdist, make_wheel

resolve = load_ci_script("resolve")
PYPROJECT = """\
[project]
name = "thing"
version = "1"
classifiers = [
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.13",
]
dependencies = ["anywhere"]

[project.optional-dependencies]
marked = ["early; python_version < '3.11'", "late; python_version >= '3.11'", "desktop; sys_platform == 'win32'"]
compiled = ["compiled"]
source = ["libsvm-official"]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout of a package that needs others, and these in the only folder where uv looks for packages."""
    for name in ("anywhere", "early", "late", "desktop"):
        make_wheel(tmp_path, name)
    make_wheel(tmp_path, "compiled", "cp310-cp310-manylinux2014_x86_64")
    make_sdist(tmp_path, "libsvm_official")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    look_only_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "system", "marked"),
    [
        ("3.10", "linux", ["early"]),
        ("3.13", "linux", ["late"]),
        ("3.13", "macos", ["late"]),
        ("3.10", "windows", ["desktop", "early"]),
    ],
)
def test_what_is_needed_is_what_the_python_and_the_system_asked_about_need(project, version, system, marked):
    assert resolve.resolve(project, version, system, []) == ["anywhere==1"]
    assert resolve.resolve(project, version, system, ["marked"]) == [f"{name}==1" for name in ("anywhere", *marked)]


@pytest.mark.slow
def test_an_extra_without_a_wheel_is_told_from_those_that_have_them(project, capsys):
    assert resolve.main(["--python", "3.10", "--system", "linux", "windows"], project) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Python ")] == [
        "Python 3.10, linux, marked compiled source: 4 packages",
        "Python 3.10, windows, marked compiled source: FAILED",
        "Python 3.10, windows, no extra: 1 packages",
        "Python 3.10, windows, marked: 3 packages",
        "Python 3.10, windows, compiled: FAILED",
        "Python 3.10, windows, source: 2 packages",
    ]
    assert any("compiled" in line and "wheel" in line for line in lines)
    assert lines[-1] == "1 failed"


@pytest.mark.slow
def test_extras_that_contradict_each_other_may_both_be_resolved(project, capsys):
    make_wheel(project, "anywhere", version="2")
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text + 'older = ["anywhere<2"]\nnewer = ["anywhere>=2"]\n')
    arguments = ["--python", "3.10", "--system", "linux", "--extra"]
    assert resolve.main([*arguments, "older", "newer"], project) == 0
    said = capsys.readouterr().out
    assert "linux, older newer: FAILED\n" in said
    assert said.endswith("linux, older: 1 packages\nPython 3.10, linux, newer: 1 packages\nall resolve\n")


@pytest.mark.slow
def test_source_alone_is_not_enough_but_for_the_packages_that_are_known_to_have_no_wheels(project, monkeypatch):
    monkeypatch.setattr(resolve, "FROM_SOURCE", [])
    with pytest.raises(resolve.ResolutionError, match="libsvm-official"):
        resolve.resolve(project, "3.10", "linux", ["source"])


def test_every_extra_is_asked_about_for_every_python_and_system(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(resolve, "resolve", lambda root, *what: asked.append(what) or ["torch==2.4"])
    assert resolve.main([]) == 0
    assert capsys.readouterr().out.endswith("\nall resolve\n")
    assert [what[:2] for what in asked] == [
        (version, system) for version in ("3.10", "3.11", "3.12", "3.13") for system in ("linux", "macos", "windows")
    ]
    assert all({"train", "pyiqa", "onnx", "restoration"} <= set(extras) for _, _, extras in asked)
