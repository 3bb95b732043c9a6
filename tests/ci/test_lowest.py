"""The lowest versions that are tested, found among packages made here."""

import sys

import pytest
from helpers.ci_scripts import ROOT, load_ci_script
from helpers.package_files import look_only_in, make_sdist, make_wheel

lowest = load_ci_script("lowest")
HERE = f"cp{sys.version_info.major}{sys.version_info.minor}"


@pytest.mark.slow
def test_of_each_dependency_it_is_the_lowest_version_with_a_wheel_for_the_python(tmp_path, monkeypatch):
    look_only_in(tmp_path, monkeypatch)
    for version in ("1.9", "2.0", "2.1"):
        make_wheel(tmp_path, "anywhere", version=version, needs=["needed"])
    for version in ("1", "2"):
        make_wheel(tmp_path, "needed", version=version)
    make_sdist(tmp_path, "compiled", "2.0")
    make_wheel(tmp_path, "compiled", "cp39-cp39-any", "2.1")
    for version in ("2.2", "2.3"):
        make_wheel(tmp_path, "compiled", f"{HERE}-none-any", version)
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "thing"\nversion = "1"\ndependencies = ["anywhere>=2", "compiled>=2"]\n')
    assert lowest.lowest(pyproject, sys.executable, []).splitlines() == ["anywhere==2.0", "compiled==2.2", "needed==2"]


@pytest.mark.slow
def test_the_environment_is_empty_and_of_the_python_asked_for(tmp_path, monkeypatch):
    look_only_in(tmp_path, monkeypatch)
    python = lowest.make_environment(tmp_path / "venv", sys.executable)
    assert python.parent.parent == tmp_path / "venv"
    asked = "import sys, importlib.util as found; print(sys.version_info[:3], found.find_spec('torch'))"
    said = lowest.subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout
    assert said == f"{tuple(sys.version_info[:3])} None\n"


def test_all_tests_that_are_run_exist():
    assert [name for name in lowest.TESTS if not (ROOT / "tests" / name).is_file()] == []
