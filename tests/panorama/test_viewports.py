"""Which directions are looked at: the fixed set, and the one that entropy leads."""

import itertools
import math

import pytest
import torch
from helpers.panoramas import directions, make_panorama, turned

from qfm_metric.panorama.sphere import WHOLE, Placement, Sphere
from qfm_metric.panorama.viewports import (
    APART,
    CHOSEN,
    direction,
    entropy_viewports,
    first_yaw,
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


@pytest.mark.parametrize("degrees", [7, 100, 123])
def test_viewports_that_entropy_chooses_turn_with_the_picture(degrees):
    """By whole pixels, and by no multiple of the degrees between directions. Rounding in float32 moves some by 1e-5."""
    panorama = make_panorama(360)
    before, after = (
        entropy_viewports(sphere, first_yaw(sphere))
        for sphere in (Sphere.of_image(image, WHOLE, 100.0) for image in (panorama, panorama.roll(degrees, -1)))
    )
    assert max(min(angle((one.yaw + degrees, one.pitch), other) for other in after) for one in before) < 1e-3


@pytest.mark.parametrize("degrees", [0.3, -77.7, 180])
def test_the_first_yaw_turns_with_the_picture_by_less_than_a_pixel_too(degrees):
    """Of a sphere that is brightest at 30 degrees; a pixel has 2. Float32 moves it by less than 1e-4."""
    right, _, forward = directions(90, 180)
    towards = right * math.sin(math.radians(30)) + forward * math.cos(math.radians(30))
    panorama = (towards * 0.3 + 0.5).float().expand(3, -1, -1)
    assert first_yaw(Sphere.of_image(panorama, WHOLE, 100.0)) == pytest.approx(30, abs=1e-4)
    assert direction(first_yaw(Sphere.of_image(turned(panorama, degrees), WHOLE, 100.0)), 0) == pytest.approx(
        direction(30 + degrees, 0), abs=1e-4
    )


def test_of_a_part_the_first_yaw_is_its_middle_so_that_it_holds_a_viewport_wherever_it_lies():
    for left in (0.1, 0.5, 0.9):
        sphere = Sphere.of_image(torch.rand(3, 90, 54), Placement(left, 0, 0.3, 1), 100.0)  # 108 degrees wide
        middle = 360 * (left + 0.15) - 180
        assert direction(first_yaw(sphere), 0) == pytest.approx(direction(middle, 0))
        for viewports in (fixed_viewports(first_yaw(sphere)), entropy_viewports(sphere, first_yaw(sphere))):
            assert direction(*held_viewports(sphere, viewports)[0][:2]) == pytest.approx(direction(middle, 0))


def test_of_a_part_the_viewports_that_it_holds_come_to_one():
    band = Sphere.of_image(torch.zeros(3, 60, 180), Placement(0, 1 / 6, 1, 2 / 3), 100.0)
    held = held_viewports(band, fixed_viewports())
    assert {viewport.pitch for viewport in held} == {0}
    assert sum(viewport.weight for viewport in held) == pytest.approx(1)
    assert held_viewports(Sphere.of_image(torch.zeros(3, 20, 180), Placement(0, 0.4, 1, 0.2), 100.0), held) == []
