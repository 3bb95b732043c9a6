"""What is compared with what, the figures, and the command; mostly scores without pictures."""

import csv
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.pages import read_page
from helpers.pictures import grey
from helpers.processes import NOT_TEXT
from PIL import Image

from qfm_metric.cli import main, metric
from qfm_metric.compare import compare_scores, match_names
from qfm_metric.folder.formats import FORMATS

RANDOM = np.random.default_rng(0)


def named(scores, suffix="png"):
    return {f"{i:05}.{suffix}": score for i, score in enumerate(scores)}


def test_known_case():
    found = compare_scores({"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9}, {"d": 0.8, "c": 0.5, "b": 0.7, "a": 0.4})
    assert found.paired
    assert [(pair.name_a, pair.a, pair.b, pair.winner) for pair in found.pairs] == [
        ("a", 0.1, 0.4, "B"),
        ("b", 0.5, 0.7, "B"),
        ("d", 0.9, 0.8, "A"),
        ("c", 0.5, 0.5, ""),
    ]
    assert (found.count_a, found.count_b) == (4, 4)
    assert (found.mean_a, found.mean_b) == pytest.approx((0.5, 0.6))
    assert found.difference == pytest.approx(0.1)
    assert found.win_rate == (2 + 0.5) / 4
    low, high = found.interval
    assert low < 0.1 < high
    assert found.verdict == "no difference shown"


@pytest.mark.parametrize("count", [300, 6_000])
def test_interval_is_the_normal_one_of_many_pairs(count):
    a = RANDOM.uniform(0.2, 0.6, count)
    d = RANDOM.normal(0.02, 0.05, count)
    found = compare_scores(named(a), named(a + d))
    error = 1.96 * d.std() / count**0.5
    assert found.interval == pytest.approx((d.mean() - error, d.mean() + error), abs=0.1 * error)
    assert found.verdict == "B is better"
    assert found.win_rate == pytest.approx((d > 0).mean(), abs=1e-3)


def test_interval_has_the_difference_as_often_as_it_says():
    """Of 200 samples of 40 pairs whose expected difference is .03, 90 to 98 % of the intervals must have it in them."""
    hits = 0
    for _ in range(200):
        low, high = compare_scores(named(np.full(40, 0.5)), named(0.53 + RANDOM.normal(0, 0.1, 40))).interval
        hits += low <= 0.03 <= high
    assert 0.9 <= hits / 200 <= 0.98


@pytest.mark.parametrize("paired", [True, False])
def test_interval_is_that_of_many_resamples(paired):
    """Skewed, and with values that are there many times.

    The expansion is within .03 of half the interval, what 40,000 resamples find varies by .01 of it; by a normal
    distribution it would be .1 off.
    """
    a, b = 0.1 * RANDOM.exponential(size=40).round(1).clip(max=5), 0.1 + 0.2 * RANDOM.exponential(size=40).clip(max=4)
    found = compare_scores(named(a), named(b), pair=paired)
    drawn = [RANDOM.integers(40, size=(40_000, 40)) for _ in range(2)]
    means = (b - a)[drawn[0]].mean(1) if paired else b[drawn[1]].mean(1) - a[drawn[0]].mean(1)
    expected = np.quantile(means, [0.025, 0.975])
    assert found.interval == pytest.approx(expected, abs=0.04 * (expected[1] - expected[0]) / 2)


def test_interval_of_few_pairs_is_within_their_differences():
    low, high = compare_scores(named([0.5] * 5), named([0.5, 0.5, 0.5, 0.5, 0.9])).interval
    assert 0 <= low < high <= 0.4


def test_sides_swapped():
    a, b = (named(RANDOM.uniform(size=50)) for _ in range(2))
    one, other = compare_scores(a, b), compare_scores(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert one.win_rate == pytest.approx(1 - other.win_rate)


def test_constant_difference():
    found = compare_scores(named([0.25] * 9), named([0.5] * 9))
    assert found.interval == (0.25, 0.25)
    assert (found.win_rate, found.verdict) == (1, "B is better")
    same = compare_scores(named([0.3, 0.7]), named([0.3, 0.7]))
    assert (same.difference, same.interval, same.win_rate) == (0, (0, 0), 0.5)
    assert same.verdict == "no difference shown"


def test_closer_than_files_can_tell_is_a_tie():
    found = compare_scores({"a": 0.5, "b": 0.5}, {"a": 0.50004, "b": 0.5001})
    assert {pair.name_a: pair.winner for pair in found.pairs} == {"a": "", "b": "B"}


def test_one_pair_has_no_interval():
    found = compare_scores({"a": 0.5}, {"a": 0.75})
    assert (found.difference, found.interval, found.win_rate) == (0.25, None, 1)
    assert found.verdict == "no difference shown"


@pytest.mark.parametrize(("a", "b"), [({}, {}), ({"x": None}, {"y": 0.5}), ({"x": 0.5}, {"x": None}), ({"x": 1.0}, {})])
def test_nothing_to_compare(a, b):
    found = compare_scores(a, b)
    assert (found.difference, found.interval, found.win_rate, found.pairs) == (None, None, None, [])


def test_errors_leave_out_both_partners():
    found = compare_scores({"a": None, "b": 0.5, "c": 0.5, "alone": None}, {"a": 0.9, "b": 0.75, "c": None})
    assert [pair.name_a for pair in found.pairs] == ["b"]
    assert (found.failed_a, found.failed_b) == (["a", "alone"], ["c"])
    assert (found.unmatched_a, found.unmatched_b) == (["alone"], [])
    assert (found.mean_a, found.mean_b) == (0.5, 0.75)


@pytest.mark.parametrize("a", ["./a", "a//", "a/.", "../{here}/a"])
@pytest.mark.parametrize("kind", ["folder", "table of it", "table of a pattern in it"])
def test_pairs_are_found_however_a_folder_is_written(mean, capsys, a, kind):
    for name in ("a/x.png", "a/sub/y.png", "b/x.png", "b/sub/y.png"):
        grey(name)
    a = a.format(here=Path.cwd().name)
    if kind == "table of it":
        assert main(["-r", "--csv", "-o", "a.csv", a]) == 0
    elif kind != "folder":
        Path("a.csv").write_text(f"path,score\n{a}/x.png,0.2\n{a}/sub/y.png,0.2\n")
    assert main(["compare", "-r", a if kind == "folder" else "a.csv", "./b", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert sorted((pair["name_a"], pair["name_b"]) for pair in pairs) == [("sub/y.png",) * 2, ("x.png",) * 2]


@pytest.mark.parametrize(("a", "b"), [("a.csv", "b"), ("b", "a.csv"), ("a.csv", "b.csv"), ("b.csv", "a.csv")])
def test_a_table_whose_pictures_lie_in_one_folder_is_compared_with_what_has_more(mean, capsys, a, b):
    for name in ("a/of/sub/x.png", "a/of/sub/y.png", "b/sub/x.png", "b/sub/y.png", "b/x.png", "b/other/y.png"):
        grey(name)
    for name, folder in (("a.csv", "a/of"), ("b.csv", "b")):
        assert main(["-r", "--csv", "-o", name, folder]) == 0
    assert main(["compare", "-r", a, b, "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert sorted((pair["name_a"], pair["name_b"]) for pair in pairs) == [("sub/x.png",) * 2, ("sub/y.png",) * 2]


def test_without_matches_all_is_compared_with_all():
    a, b = RANDOM.uniform(size=40), RANDOM.uniform(size=60).round(1)
    a[:5] = b[:5]  # ties
    found = compare_scores(named(a, "a") | {"broken": None}, {f"b{i}": score for i, score in enumerate(b)})
    assert not found.paired
    assert (found.count_a, found.count_b, found.pairs, found.failed_a) == (40, 60, [], ["broken"])
    assert found.difference == pytest.approx(b.mean() - a.mean())
    every = b[:, None] - a[None]
    assert found.win_rate == pytest.approx(np.where(abs(every) <= 5e-5, 0.5, every > 0).mean())
    error = 1.96 * (a.var() / 40 + b.var() / 60) ** 0.5
    assert found.interval == pytest.approx((found.difference - error, found.difference + error), abs=0.15 * error)


def test_pairing_can_be_refused():
    found = compare_scores({"a": 0.2, "b": 0.8}, {"a": 0.4, "b": 0.6}, pair=False)
    assert (found.paired, found.win_rate, found.unmatched_a) == (False, 0.5, [])


def test_names():
    assert match_names(["x.png", "deep/x.png"], ["deep/x.jpg", "x.jpg"]) == [
        ("x.png", "x.jpg"),
        ("deep/x.png", "deep/x.jpg"),
    ]
    # Equal names come before equal stems, and stems that are no name's alone are nobody's.
    assert match_names(["x.png", "x.jpg"], ["x.jpg", "x.webp"]) == [("x.png", "x.webp"), ("x.jpg", "x.jpg")]
    assert match_names(["x.png", "x.gif"], ["x.jpg"]) == []
    assert match_names(["x.png"], ["X.png", "xx.png"]) == []


# ---- the command


@pytest.fixture(autouse=True)
def folders(mean):
    """A: 51, 102 and a broken one; B: 153, 102, and another; and as files of scores."""
    for path, level in {"A/x.png": 51, "A/y.png": 102, "B/x.jpg": 153, "B/y.jpg": 102, "B/z.jpg": 0}.items():
        Path(path).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), level).save(path)
    Path("a.csv").write_text("path,score,error\nA/x.png,0.2,\nA/y.png,0.4,\n")
    Path("b.json").write_text(
        json.dumps(
            {"signature": "other", "results": [{"path": "B/x.jpg", "score": 0.6}, {"path": "B/y.jpg", "score": 0.4}]}
        )
    )


def test_folders(capsys):
    assert main(["compare", "A", "B"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A: A               mean 0.300 of 2",
        "B: B               mean 0.500 of 2",
        "difference, B - A  +0.2000",
        "95 % interval      +0.0000 to +0.4000: no difference shown",
        "B wins             75.0% of pairs, ties counted half",
        "paired             by name: 2 pairs",
        "only in B: 1: z.jpg",
        "",
        "   B - A      A      B  pairs that differ most",
        " +0.4000  0.200  0.600  x.png",
        " +0.0000  0.400  0.400  y.png",
    ]


@pytest.mark.parametrize("options", [[], ["-o", "out.txt", "--html", "page.html"]])
def test_an_interrupt_leaves_nothing_and_says_how_to_go_on_next_time(mean, capsys, monkeypatch, options):
    rate, seen = mean.rate, []

    def interrupted(views, *arguments, **told):
        seen.append(views)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return rate(views, *arguments, **told)

    monkeypatch.setattr(mean, "rate", interrupted)
    before = sorted(os.listdir())
    assert main(["compare", "A", "B", *options]) == 130
    said = capsys.readouterr()
    assert (said.out, sorted(os.listdir())) == ("", before)
    assert said.err.startswith("qfm-metric: interrupted; nothing is kept: score what takes long with qfm-metric FOLDER")


def test_files_of_scores_give_the_same_without_a_network(mean, capsys, monkeypatch):
    main(["compare", "A", "B", "--json"])
    scored = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(metric, "QFMScore", None)
    assert main(["compare", "a.csv", "b.json", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["difference"] == pytest.approx(scored["difference"])
    assert read["interval"] == pytest.approx(scored["interval"])
    assert [pair["name_b"] for pair in read["pairs"]] == ["x.jpg", "y.jpg"]
    assert read["pairs"][0]["difference"] == pytest.approx(0.4)
    assert (read["signature"], scored["signature"]) == ("other", mean.signature)
    assert (read["unmatched_b"], scored["unmatched_b"]) == ([], ["z.jpg"])


def test_different_weights_are_told(mean, capsys):
    assert main(["compare", "A", "b.json"]) == 0
    assert f"scored differently: A by {mean.signature}; B by other" in capsys.readouterr().err


def test_broken_picture(capsys):
    Path("A/z.png").write_text("no picture")
    assert main(["compare", "A", "B"]) == 1
    assert "not scored in A: 1: z.png" in capsys.readouterr().out


def test_nothing_in_common_and_nothing_at_all(capsys):
    Path("empty").mkdir()
    assert main(["compare", "A", "empty"]) == 1
    told = capsys.readouterr()
    assert "nothing to compare" in told.err
    assert "B: empty  nothing scored" in told.out
    assert main(["compare", "A", "B", "--unpaired"]) == 0
    assert "all of A with all of B" in capsys.readouterr().out


def test_page_and_output_file(capsys):
    assert main(["compare", "A", "B", "--html", "page.html", "-o", "figures.txt", "--top", "1"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("figures.txt").read_text().endswith("0.600  x.png\n")
    text, page, cards = read_page(Path("page.html"))
    assert [card["name"] for card in cards] == ["x.png", "y.png"]
    assert [picture["href"] for picture in cards[0]["pictures"]] == ["A/x.png", "B/x.jpg"]
    assert all("thumbnail" in picture for picture in cards[0]["pictures"])
    assert [group["count"] for group in page["groups"]] == [0, 1, 1]
    assert "<li>z.jpg</li>" in text


def test_names_that_are_no_text_match_in_whatever_format(capsys):
    Path("C").mkdir()
    grey(f"C/{NOT_TEXT}", 100)
    names = ["C", *(f"c.{name}" for name in FORMATS)]
    for name in FORMATS:
        assert main(["C", f"--{name}", "-o", f"c.{name}"]) == 0
    for a, b in itertools.combinations(names, 2):
        assert main(["compare", a, b, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["paired"], found["unmatched_a"], found["unmatched_b"]) == (True, [], [])


def test_a_number_below_zero_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "A", "B", "--top", "-1"])
    assert "--top: expected 0 or more, got -1" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["A"], ["A", "none"], ["A", "A/x.png"], ["A", "none.csv"], ["A", "bad.csv"]])
def test_wrong_usage(args):
    Path("bad.csv").write_text("score\n1\n")
    with pytest.raises(SystemExit) as status:
        main(["compare", *args])
    assert status.value.code == 2


def test_what_the_scoring_command_writes_can_be_compared(capsys):
    assert main(["A", "--csv", "-o", "scores.csv"]) == 0
    assert main(["B", "--json", "-o", "scores.json"]) == 0
    with open("scores.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert main(["compare", "scores.csv", "scores.json"]) == 0
    assert "difference, B - A  +0.2000" in capsys.readouterr().out


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if form.resumable])
def test_what_scored_a_file_is_told_from_beside_it(mean, capsys, form):
    Path("B/broken.jpg").write_text("no picture")
    for folder in "AB":
        main([folder, f"--{form}", "-o", f"{folder}.{form}"])
    capsys.readouterr()
    assert main(["compare", f"A.{form}", f"B.{form}", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["signature"] == mean.signature
    assert (found["difference"], found["failed_b"]) == (pytest.approx(0.2), ["broken.jpg"])
    assert "scored differently" not in err
    assert main(["compare", f"A.{form}", "b.json"]) == 0
    assert f"A by {mean.signature}; B by other" in capsys.readouterr().err
    for damaged in ("", "[]", "{}"):
        Path(f"A.{form}.run.json").write_text(damaged)
        assert main(["compare", f"A.{form}", "b.json", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["signature"] == "other"
