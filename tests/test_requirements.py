"""What is asked of a picture in words."""

import doctest

import pytest

from qfm_metric import requirements
from qfm_metric.requirements import Condition, RequirementError, parse_requirement

COLUMNS = ("score", "std", "blur")


def test_conditions_are_read_with_and_without_spaces():
    found = parse_requirement(" score>=.5 , std < 1e-1,blur<=0.25,score > -1", COLUMNS)
    assert found.conditions == (
        Condition("score", ">=", 0.5),
        Condition("std", "<", 0.1),
        Condition("blur", "<=", 0.25),
        Condition("score", ">", -1.0),
    )
    assert found.columns == {"score", "std", "blur"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected conditions such as .*, got ''"),
        ("score >= .5,", "got ''"),
        ("score", "got 'score'"),
        ("score = .5", "comparisons are >=, <=, >, <"),
        ("score >> .5", "got 'score >> .5'"),
        ("score >= .5 std < .1", "got 'score >= .5 std < .1'"),
        (".5 <= score", "got '.5 <= score'"),
        ("sharpness > .5", "expected one of blur, score, std, got 'sharpness'"),
        ("score > half", "expected a number behind `score >`, got 'half'"),
        ("score > nan", "got 'nan'"),
        ("score < inf", "got 'inf'"),
    ],
)
def test_what_is_no_condition_is_told(text, says):
    with pytest.raises(RequirementError, match=says):
        parse_requirement(text, COLUMNS)


@pytest.mark.parametrize(
    ("comparison", "holds"), [(">=", [False, True, True]), (">", [False, False, True]), ("<=", [True, True, False])]
)
def test_comparisons_are_those_of_numbers(comparison, holds):
    condition = Condition("score", comparison, 0.5)
    assert [condition.holds(value) for value in (0.4999, 0.5, 0.5001)] == holds


def test_what_is_not_known_is_neither_met_nor_unmet():
    requirement = parse_requirement("score >= .5, std < .1, blur < .5", COLUMNS)
    verdict = requirement.check({"score": 0.4, "std": None, "blur": float("nan")}.get)
    assert [str(condition) for condition in verdict.unmet] == ["score >= 0.5"]
    assert [condition.column for condition in verdict.unknown] == ["std", "blur"]
    assert requirement.check({"score": 1, "std": 0, "blur": 0.1}.get) == requirements.Verdict((), ())


def test_the_docstring_example():
    assert doctest.testmod(requirements).failed == 0
