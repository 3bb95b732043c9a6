"""Pictures that are no photographs: every kind is drawn, the same from the same seed, of the promised sizes."""

import numpy as np
import pytest

from qfm_metric.images import is_blank
from qfm_metric.train.not_photographs import KINDS, draw
from qfm_metric.train.not_photographs.paint import SIDES


@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_each_kind_is_drawn_from_its_seed(number):
    drawn = draw(3, number)
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    assert SIDES[0] <= min(drawn.shape[:2])
    assert max(drawn.shape[:2]) <= SIDES[1]
    assert not is_blank(drawn)
    np.testing.assert_array_equal(draw(3, number), drawn)
    other = draw(4, number)
    assert other.shape != drawn.shape or (other != drawn).any()


def test_the_kinds_come_in_turn_and_all_are_there():
    assert set(KINDS) >= {"page", "form", "scan", "chart", "logo", "shapes", "icon", "pixel_art", "test_card"}
    assert set(KINDS) >= {"cartoon", "painted", "line_drawing", "map_sheet", "screenshot"}
