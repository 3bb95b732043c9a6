"""The documents' blocks and the docstrings' examples run, and print what they say they print."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest
import torch
from helpers.commands import check_commands, split_commands
from helpers.documents import ROOT, run_blocks

# By tests/adapters, section by section; by test_ray, on its cluster; by test_onnx.
ELSEWHERE = {"docs/adapters.md", "docs/clusters.md", "docs/export.md"}
DOCUMENTS = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.md", "docs/*.md", "benchmarks/*.md")
        for path in ROOT.glob(pattern)
    }
    - ELSEWHERE
)
SLOW = {
    "docs/culling.md",
    "docs/folders.md",
    "docs/own-data.md",
    "docs/ratings.md",
    "docs/tables.md",
    "docs/video.md",
}  # start processes


@pytest.mark.parametrize(
    "name",
    [
        f"qfm_metric{part}"
        for part in ("", ".facts", ".folder.groups", ".folder.stream", ".guard", ".loss", ".scale", ".score")
    ],
)
def test_docstring_examples(name, metric):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"torch": torch, "score": metric})
    assert found.attempted > 0
    assert found.failed == 0


@pytest.fixture
def folder(tmp_path, monkeypatch, photo_path):
    """What the documents' readers have: a photograph, under the names that the documents give it."""
    for name in ("photo.png", "b.png", "photos/good.png", "old/x.png", "new/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photo_path, tmp_path / name)
    shutil.copy(Path(photo_path).with_name("rocket.jpg"), tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "document", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in DOCUMENTS]
)
def test_blocks_run_and_commands_are_understood(document, folder):
    run_blocks(ROOT / document)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```python\nprint(1)  # <- 2\n```", "printed .*1.*claims .*2"),
        ('```python\nraise ValueError("no")\n```', "no"),
        ("<!-- skip: next -->\n```python\n1 / 0\n```", "without a reason"),
        ("```bash\nqfm-metric photos --no-such-option\n```", "--no-such-option"),
        ("```bash\ncat x | qfm-metric - \\\n  --top many\n```", "--top"),
        ("and `qfm-metric export --onnxx x`.", "--onnxx"),
        ("```bash\nH='--data D'\npython -m qfm_metric.train student quick $H --set loop.sead=1\n```", "sead"),
        ("```bash\nPYTHONPATH=. python benchmarks/speed.py --jsn x\n```", "--jsn"),
        ("```bash\npython examples/rank_photoes.py\n```", "no examples/rank_photoes"),
        ("<!-- run -->\n```bash\nfalse\n```", "exit status 1"),
    ],
)
def test_what_is_wrong_is_found(tmp_path, text, says):
    (tmp_path / "page.md").write_text(text + "\n")
    with pytest.raises(Exception, match=says):
        run_blocks(tmp_path / "page.md")


def test_skips_give_their_reason(tmp_path):
    (tmp_path / "page.md").write_text(
        '<!-- skip: next "needs a GPU" -->\n```python\n1 / 0\n```\n\n```python\nx = 1\n```\n'
    )
    assert run_blocks(tmp_path / "page.md") == (1, ["needs a GPU"])


def test_commands_are_found_in_shell_text():
    text = "A=1 B=2 qfm-metric a | jq '.x | y' && (cd z; python3 examples/rank_photos.py)  # no\nR='-n 3'\necho $R"
    assert list(split_commands(text)) == [
        ["qfm-metric", "a"],
        ["jq", ".x | y"],
        ["cd", "z"],
        ["python3", "examples/rank_photos.py"],
        ["echo", "-n", "3"],
    ]
    assert check_commands(text, ROOT) == 2
