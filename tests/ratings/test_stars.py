"""How many stars a score is."""

import doctest

import pytest

from qfm_metric.cull.decide import PRESETS
from qfm_metric.ratings import stars as module
from qfm_metric.ratings.stars import LABELS, STARS, parse_stars, stars


def test_stars_begin_at_their_limits():
    assert STARS == (0.2, 0.4, 0.6, 0.8)
    assert [stars(score) for score in (0, 0.1999, 0.2, 0.4, 0.5999, 0.6, 0.8, 1)] == [1, 1, 2, 3, 3, 4, 5, 5]
    limits = parse_stars(".35, .5,.65,.78")
    assert limits == (0.35, 0.5, 0.65, 0.78)
    assert [stars(score, limits) for score in (0.34, 0.35, 0.78)] == [1, 2, 5]


def test_labels_are_the_decisions_of_the_preset_normal():
    look, keep = PRESETS["normal"]
    assert [LABELS[stars(score)] for score in (look - 0.01, look, keep - 0.01, keep)] == [
        "Red",
        "Yellow",
        "Yellow",
        "Green",
    ]


@pytest.mark.parametrize(
    "text", ["", ".1,.2,.3", ".1,.2,.3,.4,.5", ".4,.3,.6,.8", "0,.2,.4,.6", ".2,.4,.6,1.1", "a,b,c,d", ".2,.4,.6,nan"]
)
def test_limits_that_do_not_rise_from_0_to_1_are_refused(text):
    with pytest.raises(ValueError, match="expected the scores at which 2, 3, 4 and 5 stars begin"):
        parse_stars(text)


def test_the_docstring_example():
    assert doctest.testmod(module).failed == 0
