"""benchmarks/regression.py: its arithmetic, and two commits of a stand-in for the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import regression

PACKAGE = """
import torch

class QFMScore:
    {name} = {name!r}
    def __call__(self, image):
        return {expression}

def load_image(path):
    return torch.full((1,), 0.5)
"""


def test_ratio_is_of_each_round():
    # The machine is twice as slow from the second round on; medians over all rounds would say 1.5.
    found = regression.compare_seconds([1.0, 2.0, 2.0, 2.0], [1.5, 3.0, 2.0, 4.0])
    assert found["ratio"] == 1.5
    assert (found["lowest"], found["highest"]) == (1.0, 2.0)
    assert (found["quartile_low"], found["quartile_high"]) == (1.375, 1.625)
    assert (found["first_s"], found["second_s"]) == (2.0, 2.5)


def test_one_round_has_no_spread():
    found = regression.compare_seconds([2.0], [1.0])
    assert {found[name] for name in ("ratio", "quartile_low", "quartile_high", "lowest", "highest")} == {0.5}


def test_differences_of_scores():
    found = regression.compare_scores([0.5, 0.25, 0.75], [0.5, 0.375, 0.5], ["a", "b", "c"])
    assert found == {"most": 0.25, "where": "c", "mean": 0.125, "changed": 2, "pictures": 3}
    same = regression.compare_scores([0.5], [0.5], ["a"])
    assert (same["most"], same["where"], same["changed"]) == (0, None, 0)


def test_limits():
    result = {
        "speed": {"score": {"ratio": 1.2}, "file": {"ratio": 1.05}, "gradient": {"ratio": 0.9}},
        "scores": {"most": 0.01},
    }
    assert regression.failures(result, None, None) == []
    assert regression.failures(result, 1.2, 0.01) == []
    assert [line.split(":")[0] for line in regression.failures(result, 1.1, 1e-3)] == ["QFMScore", "scores"]


@pytest.fixture
def repository(tmp_path):
    """Two commits: the second scores .125 higher, and calls what scores by another name."""
    folder = tmp_path / "repository"
    (folder / "qfm_metric").mkdir(parents=True)

    def git(*arguments):
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)

    git("init", "-b", "main")
    for name, expression in (("report", "image * 1.0"), ("signature", "image + 0.125")):
        (folder / "qfm_metric" / "__init__.py").write_text(PACKAGE.format(name=name, expression=expression))
        git("add", "-A")
        git("commit", "-m", name)
    return folder


@pytest.mark.slow
def test_two_commits(repository, tmp_path, photo_path, capsys):
    out = tmp_path / "out.json"
    options = ["--repository", str(repository), "--pictures", photo_path, "--rounds", "2", "--json", str(out)]
    assert regression.main(["main~1", "main", *options, "--most-difference", "0.1"]) == 1
    assert "scores: 0.12 > 0.1" in capsys.readouterr().err
    found = json.loads(out.read_text())
    assert found["signatures"] == ["report", "signature"]
    assert (found["scores"]["most"], found["scores"]["changed"]) == (0.125, 1)
    assert [len(times) for pair in found["seconds"].values() for times in pair] == [2] * 6
    left = subprocess.run(["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True)
    assert len(left.stdout.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("ends", "status"), [("0", 0), ("1", 1)])
def test_the_second_commits_ratios_are_held(repository, photo_path, capfd, ends, status):
    script = repository / "benchmarks" / "ratios.py"
    script.parent.mkdir()
    script.write_text(f"import sys, qfm_metric; print(sys.argv[1:], qfm_metric.__file__); sys.exit({ends})")
    words = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*words, "add", "-A"], check=True)
    subprocess.run([*words, "commit", "-qm", "ratios"], check=True)
    options = ["--repository", str(repository), "--pictures", photo_path, "--rounds", "1"]
    assert regression.main(["main~1", "main", *options, "--ratios", "start"]) == status
    printed = capfd.readouterr()
    assert "['start']" in printed.out
    assert "second/qfm_metric/__init__.py" in printed.out
    assert ("ratios: beyond their limits" in printed.err) == bool(status)


def test_unknown_commit_is_named(repository, photo_path):
    with pytest.raises(SystemExit, match="nowhere: expected a commit"):
        regression.main(["nowhere", "main", "--repository", str(repository), "--pictures", photo_path])
