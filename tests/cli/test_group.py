"""`--group`: bursts and near-duplicates in a table of scores."""

import csv
from pathlib import Path

import pytest
from helpers.mean import Mean
from helpers.pictures import dated

from qfm_metric.cli import main, metric


@pytest.fixture(autouse=True)
def pictures(mean):
    """Two of a moment, and one between them that is unlike."""
    for name, second, level in [("a", 1, 150), ("b", 2, 20), ("c", 3, 155)]:
        dated(f"f/{name}.png", f"2024:05:01 12:00:{second:02}", level=level)
    Path("f/broken.png").write_text("no picture")


def table(path="scores.csv"):
    with open(path, newline="") as file:
        return [(row["path"], row["group"], row["group_rank"]) for row in csv.DictReader(file)]


def test_pictures_of_one_moment_share_a_number():
    assert main(["f", "--group", "--csv", "-o", "scores.csv"]) == 1
    wanted = [("f/a.png", "1", "2"), ("f/b.png", "2", "1"), ("f/broken.png", "", ""), ("f/c.png", "1", "1")]
    assert table() == wanted
    main(["f", "--group", "--csv", "-o", "scores.csv", "--sort", "best"])
    assert table() == [wanted[i] for i in (3, 0, 1, 2)]


def test_text_has_the_group_before_the_path(capsys):
    main(["f/a.png", "f/c.png", "--group"])
    assert capsys.readouterr().out == "0.5882\t1\t2\tf/a.png\n0.6078\t1\t1\tf/c.png\n"


def test_what_is_required_of_groups_needs_no_further_option(capsys):
    assert main(["f/a.png", "f/c.png", "--require", "group_rank < 2"]) == 3
    assert "f/a.png: expected group_rank < 2, got 2" in capsys.readouterr().err


class Interrupted(Mean):
    """Is interrupted at the third picture."""

    def look(self, pixels):
        if pixels[0, 0, 0] == 155:
            raise KeyboardInterrupt
        return super().look(pixels)


def test_an_interrupted_run_writes_the_rows_that_it_has(monkeypatch):
    monkeypatch.setattr(metric, "QFMScore", Interrupted())
    assert main(["f/a.png", "f/b.png", "f/c.png", "--group", "--csv", "-o", "scores.csv"]) == 130
    assert table() == [("f/a.png", "1", "1"), ("f/b.png", "2", "1")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tile", "64"], "--group: expected whole pictures, got --tile"),
        (["--csv", "-o", "out.csv", "--resume"], "--resume: expected rows that can be written one by one, got --group"),
        (["--engine", "ray"], "--group: expected --engine local"),
    ],
)
def test_options_that_do_not_go_together_are_refused(capsys, words, says):
    if "ray" in words:
        pytest.importorskip("ray")
    with pytest.raises(SystemExit) as ended:
        main(["f", "--group", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_run_with_groups_is_not_gone_on_with_without_them(capsys):
    main(["f", "--group", "--csv", "-o", "scores.csv"])
    with pytest.raises(SystemExit):
        main(["f", "--csv", "-o", "scores.csv", "--resume"])
    assert "group was True, now None" in capsys.readouterr().err
