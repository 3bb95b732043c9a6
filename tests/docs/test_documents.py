"""The documents' blocks and the docstrings' examples run, and print what they say they print."""

import doctest
import importlib

import pytest
import torch
from helpers.commands import check_commands, split_commands
from helpers.documents import ROOT, lay_out, rewrite_claims, run_blocks, show

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
    "docs/report.md",
    "docs/tables.md",
    "docs/video.md",
}  # start processes


@pytest.mark.parametrize(
    "name",
    [
        f"qfm_metric{part}"
        for part in (
            "",
            ".facts",
            ".folder.groups",
            ".folder.stream",
            ".guard",
            ".loss",
            ".reference",
            ".scale",
            ".score",
        )
    ],
)
def test_docstring_examples(name, metric):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"torch": torch, "score": metric})
    assert found.attempted > 0
    assert found.failed == 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    lay_out(tmp_path)
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
        ("<!-- run -->\n```bash\nprintf '1\\n2\\n'\n```\n\n```\n1\n3\n```", "printed .*2.*claims .*3"),
        ("<!-- run -->\n```bash\necho 1\n```\n\n```\n1\n2\n```", "expected to show 2"),
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


def test_what_is_printed_now_is_written_into_the_page(tmp_path, monkeypatch):
    """Claims behind prints and lines of output, and nothing else."""
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    text = """# Page\n\n```python\nfor x in (1, 2):\n    print(x / 4)  # <- {0}\n# <- {1}\n```\n
<!-- skip: next "needs a service" -->\n```python\nprint(7)  # <- {2}\n```\n\n<!-- run -->\n```bash
echo qfm-metric: 1 of 5 pictures, 0.2 a second, 0:20 left\nfor x in a b c d e; do echo $x 0.$((1 + 1)); done
```\n\n```\na {3}\n...\nc {3}\n...\n```\n\nText 0.9 stays.\n"""
    page.write_text(text.format("0.1", "0.5", "6", "0.9"))
    assert rewrite_claims(page) == [("0.1", "0.25"), ("a 0.9\n...\nc 0.9\n...", "a 0.2\n...\nc 0.2\n...")]
    assert page.read_text() == text.format("0.25", "0.5", "6", "0.2")
    assert rewrite_claims(page, skipped=True) == [("6", "7")]
    assert page.read_text() == text.format("0.25", "0.5", "7", "0.2")
    assert run_blocks(page) == (1, ["needs a service"])


@pytest.mark.parametrize("code", ["print(1)\nprint(2)  # <- 1", "print(1 > 2)  # <- True"])
def test_what_no_longer_holds_is_not_written_over(tmp_path, code):
    page = tmp_path / "page.md"
    page.write_text(f"```python\n{code}\n```\n")
    with pytest.raises(ValueError, match="look at what the page says"):
        rewrite_claims(page)
    assert page.read_text() == f"```python\n{code}\n```\n"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (["0.1 a", "...", "0.1 c", "...", "0.1 e"], ["0.2 a", "...", "0.3 c", "...", "mean 0.4"]),
        (["..."], ["..."]),
        (["...", "the mean 0.1"], ["...", "mean 0.4"]),
        (["0.1 a", "0.9 b", "...", "x", "0.1 d", "..."], ["0.2 a", "0.2 b", "...", "0.3 c", "0.3 d", "..."]),
    ],
)
def test_shown_lines_are_found_again_among_the_printed_ones(shown, expected):
    assert show(shown, ["0.2 a", "0.2 b", "0.3 c", "0.3 d", "mean 0.4"]) == expected
