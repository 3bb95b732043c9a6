"""Which directions are looked at: the fixed set, and the one that entropy leads."""

import itertools
import math

import pytest
import torch
from helpers.panoramas import make_panorama, turned

from qfm_metric.panorama.sphere import WHOLE, Placement, Sphere
from qfm_metric.panorama.viewports import (
    APART,
    CHOSEN,
    direction,
    entropy_viewports,
    fixed_viewports,
    held_viewports,
)


def angle(one, other):
    cosine = sum(a * b for a, b in zip(direction(*one[:2]), direction(*other[:2]), strict=True))
    return math.degrees(math.acos(min(1, cosine)))


def test_the_horizon_counts_most_and_weights_come_to_one():
    viewports = fixed_viewports()
    assert sum(viewport.weight for viewport in viewports) == pytest.approx(1)
    counts = {pitch: sum(v.weight for v in viewports if v.pitch == pitch) for pitch in (90, 45, 0, -45, -90)}
    assert counts[0] > 0.5 > counts[45] == counts[-45] > counts[90] == counts[-90]
    assert len({viewport[:2] for viewport in viewports}) == len(viewports) == 30
    assert all(-180 <= viewport.yaw < 180 for viewport in viewports)


def test_a_direction_is_told_by_yaw_to_the_right_and_pitch_upwards():
    assert direction(0, 0) == pytest.approx((0, 0, 1))
    assert direction(90, 0) == pytest.approx((1, 0, 0), abs=1e-12)
    assert direction(33, 90) == pytest.approx((0, 1, 0), abs=1e-12)


def test_entropy_leads_to_where_there_is_something_to_see():
    """Noise about 90 degrees to the right, grey elsewhere."""
    panorama = torch.full((3, 90, 180), 0.5)
    panorama[:, 35:55, 125:145] = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    chosen = entropy_viewports(Sphere.of_image(panorama, WHOLE, 100.0))
    assert min(angle(viewport, (90, 0)) for viewport in chosen) < 15


def test_viewports_that_entropy_chooses_are_apart_and_count_by_their_pitch():
    chosen = entropy_viewports(Sphere.of_image(make_panorama(360), WHOLE, 100.0))
    assert len(chosen) == CHOSEN
    assert min(angle(*pair) for pair in itertools.combinations(chosen, 2)) >= APART - 1e-6
    assert sum(viewport.weight for viewport in chosen) == pytest.approx(1)
    by_pitch = sorted(chosen, key=lambda viewport: abs(viewport.pitch))
    assert [viewport.weight for viewport in by_pitch] == sorted((v.weight for v in chosen), reverse=True)


def test_viewports_that_entropy_chooses_turn_with_the_picture():
    """By 15 degrees, so that the directions to choose from are the same. Rounding may move one to the next of them."""
    panorama = make_panorama(360)
    before, after = (
        entropy_viewports(Sphere.of_image(image, WHOLE, 100.0)) for image in (panorama, turned(panorama, 15))
    )
    away = [min(angle((one.yaw + 15, one.pitch), other) for other in after) for one in before]
    assert max(away) < 5 + 1e-6
    assert sorted(away)[CHOSEN // 2] < 1e-3


def test_of_a_part_the_viewports_that_it_holds_come_to_one():
    band = Sphere.of_image(torch.zeros(3, 60, 180), Placement(0, 1 / 6, 1, 2 / 3), 100.0)
    held = held_viewports(band, fixed_viewports())
    assert {viewport.pitch for viewport in held} == {0}
    assert sum(viewport.weight for viewport in held) == pytest.approx(1)
    assert held_viewports(Sphere.of_image(torch.zeros(3, 20, 180), Placement(0, 0.4, 1, 0.2), 100.0), held) == []
