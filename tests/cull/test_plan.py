"""Decisions, and the plan that people may edit."""

import os
from pathlib import Path

import pytest
from helpers.processes import NOT_TEXT

from qfm_metric.cull.decide import PRESETS, Decision, by_preset, by_requirement
from qfm_metric.cull.plan import PlanError, make_plan, read_plan, write_plan
from qfm_metric.folder.row import Row
from qfm_metric.requirements import parse_requirement
from qfm_metric.scale import BANDS

KEEP, LOOK, REJECT = Decision


@pytest.mark.parametrize(
    ("preset", "look", "keep"), [("lenient", 0.2, 0.4), ("normal", 0.4, 0.6), ("strict", 0.6, 0.8)]
)
def test_presets_begin_where_bands_do(preset, look, keep):
    assert {look, keep} < {end for _, end in BANDS}
    assert PRESETS[preset] == (look, keep)
    decide = by_preset(preset)
    scores = [look - 0.0001, look, keep - 0.0001, keep]
    assert [decide(Row("a", score))[0] for score in scores] == [REJECT, LOOK, LOOK, KEEP]
    assert decide(Row("a", look - 0.00001))[0] == LOOK  # as it is written: with four decimals
    assert decide(Row("a", look - 0.1))[1] == f"score {look - 0.1:.4f} < {look:g}"


def test_a_requirement_decides_and_says_why():
    decide = by_requirement(parse_requirement("score >= .5, std < .1", ["score", "std"]))
    assert decide(Row("a", 0.5, 0.05)) == (KEEP, "")
    assert decide(Row("a", 0.4, 0.2)) == (REJECT, "score 0.4, not score >= 0.5; std 0.2, not std < 0.1")
    assert decide(Row("a", 0.9)) == (LOOK, "not known: std")
    assert decide(Row("a", 0.4)) == (REJECT, "score 0.4, not score >= 0.5")


@pytest.mark.parametrize("decide", [by_preset("strict"), by_requirement(parse_requirement("score > 0", ["score"]))])
def test_what_could_not_be_read_is_looked_at(decide):
    assert decide(Row("a", error="no picture")) == (LOOK, "no picture")


def test_a_plan_is_read_as_it_was_written(tmp_path):
    paths = ["f/a.jpg", 'f/two\nlines, "quoted" größe.jpg', os.path.join("f", NOT_TEXT), "f/=1+1.jpg", "-x.jpg"]
    rows = [Row(path, i / 10, 0.1, 8, 9, note="a note") for i, path in enumerate(paths)] + [Row("g/b", error="none")]
    plan = list(make_plan(rows, by_preset("normal"), "f"))
    assert [planned.name for planned in plan] == [*(path.removeprefix("f/") for path in paths), "b"]
    write_plan(plan, tmp_path / "plan.csv")
    assert read_plan(tmp_path / "plan.csv") == plan


def test_what_a_spreadsheet_made_of_a_plan_is_read(tmp_path):
    write_plan(make_plan([Row("a.jpg", 0.1, 0.1, 8, 9)], by_preset("normal"), ""), tmp_path / "plan.csv")
    text = (tmp_path / "plan.csv").read_text().replace("reject,", " Keep ,").replace("\n", "\r\n")
    (tmp_path / "plan.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [planned.decision for planned in read_plan(tmp_path / "plan.csv")] == [KEEP]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("delete,a.jpg,0.5,a.jpg", "row 1: expected a decision of keep, look or reject, got 'delete'"),
        ("keep,a.jpg,0.5,../a.jpg", "row 1: expected a name inside the folder of its decision, got '../a.jpg'"),
        ("keep,a.jpg,0.5,/a.jpg", "got '/a.jpg'"),
        ("keep,a.jpg,0.5,", "got ''"),
        ("keep,a.jpg,7,a.jpg", "expected a score in"),
        ("keep,a.jpg,0.5,a.jpg\nlook,./a.jpg,0.5,b.jpg", "row 2: expected each picture once, got ./a.jpg again"),
        ('keep,"a.jpg,0.5', "a quoted field has no end"),
    ],
)
def test_what_is_no_plan_is_told(tmp_path, row, says):
    (tmp_path / "plan.csv").write_text(f"decision,path,score,name\n{row}\n")
    with pytest.raises(PlanError, match=says.replace("..", r"\.\.")):
        read_plan(tmp_path / "plan.csv")


def test_a_missing_column_is_named(tmp_path):
    Path(tmp_path, "plan.csv").write_text("path,score\na.jpg,0.5\n")
    with pytest.raises(PlanError, match="row 1: expected the column 'decision'"):
        read_plan(tmp_path / "plan.csv")
