"""`compare_scores`: what it takes as scores; what it finds is tested with the command."""

import numpy as np
import pytest

from qfm_metric.compare import compare_scores


def test_nan_is_a_picture_that_could_not_be_scored_as_pandas_has_it():
    found = compare_scores({"x": 0.5, "y": float("nan")}, {"x": np.float32(0.75), "y": 0.25})
    assert found == compare_scores({"x": 0.5, "y": None}, {"x": 0.75, "y": 0.25})
    assert (found.failed_a, found.difference) == (["y"], 0.25)


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([0.5, 0.6], "b: expected names with their scores, as in a dict, got list"),
        ({"x": "0.5"}, "b: expected a score or None for 'x', got str"),
    ],
)
def test_what_are_no_scores_is_named(scores, says):
    with pytest.raises(TypeError, match=says):
        compare_scores({"x": 0.5}, scores)
