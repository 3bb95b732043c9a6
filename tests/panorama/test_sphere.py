"""What a viewport shows: against closed forms, across the seam, at the poles, and of pictures finer than it."""

import math

import numpy as np
import pytest
import torch
from helpers.panoramas import directions, make_panorama

from qfm_metric.panorama import sphere as module
from qfm_metric.panorama.sphere import WHOLE, Placement, Sphere, area_mean, smooth_rows, viewport_side
from qfm_metric.panorama.viewports import fixed_viewports


def seen_directions(yaw, pitch, fov, side):
    """Of a camera's pixels, `(3, side, side)`, by a rotation matrix."""
    half, turned, raised = (math.radians(angle) for angle in (fov / 2, yaw, pitch))
    along = ((torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1) * math.tan(half)
    rays = torch.stack([along.expand(side, side), -along[:, None].expand(side, side), torch.ones(side, side).double()])
    tilt = torch.tensor(
        [[1, 0, 0], [0, math.cos(raised), math.sin(raised)], [0, -math.sin(raised), math.cos(raised)]]
    ).double()
    turn = torch.tensor(
        [[math.cos(turned), 0, math.sin(turned)], [0, 1, 0], [-math.sin(turned), 0, math.cos(turned)]]
    ).double()
    found = torch.einsum("ij,jk,khw->ihw", turn, tilt, rays)
    return found / found.norm(dim=0)


@pytest.mark.parametrize("viewport", [*fixed_viewports()[::3], (-180, 0, 1), (180, 20, 1), (13, -77, 1), (0, 90, 1)])
def test_a_viewport_shows_what_lies_in_its_direction(viewport):
    """A pixel's colour is its direction, so each can be told; 1e-3 of 2 is a tenth of a pixel (measured: 6.4e-4)."""
    sphere = Sphere.of_image((directions(252, 504) / 2 + 0.5).float(), WHOLE, 100.0)
    seen = sphere.view(viewport[0], viewport[1]) * 2 - 1
    wanted = seen_directions(viewport[0], viewport[1], 100, sphere.side)
    torch.testing.assert_close(seen.double(), wanted, rtol=0, atol=2.5e-3)


@pytest.mark.parametrize("pitch", [0, 45, -90])
def test_a_viewport_across_the_seam_is_the_one_in_the_middle_of_the_turned_picture(pitch):
    """Coordinates in float32 are off by 1e-4 px, where neighbouring pixels differ by up to 1."""
    image = torch.rand(3, 180, 360, generator=torch.Generator().manual_seed(0))
    across = Sphere.of_image(image, WHOLE, 100.0).view(180, pitch)
    middle = Sphere.of_image(image.roll(180, -1), WHOLE, 100.0).view(0, pitch)
    torch.testing.assert_close(across, middle, rtol=0, atol=5e-4)
    assert across.std() > 0.1


def test_a_viewport_has_the_resolution_of_the_picture_in_its_middle():
    for width, fov in ((1000, 90), (1000, 110), (360, 100)):
        side = viewport_side(width, fov)
        degrees = math.degrees(math.atan(2 * math.tan(math.radians(fov) / 2) / side))  # of its middle pixel
        assert 360 / width <= degrees < 360 / width * (1 + 1 / side + 1e-3)
    assert Sphere.of_image(torch.zeros(3, 250, 500), WHOLE, 100.0).image.shape == (3, 250, 500)
    assert Sphere.of_image(torch.zeros(3, 250, 500), WHOLE, 100.0).side == viewport_side(500, 100)
    reduced = Sphere.of_image(torch.zeros(3, 250, 500), WHOLE, 100.0, 95)
    assert reduced.side == 95
    assert viewport_side(reduced.image.shape[-1], 100) in (94, 95, 96)


def test_what_is_finer_than_a_viewport_is_averaged_and_not_skipped():
    """Stripes of one pixel are grey from afar: a viewport that skipped pixels would show black and white, or bands."""
    stripes = (torch.arange(2000) % 2).float().expand(3, 1000, 2000)
    for image in (stripes, stripes.transpose(1, 2)[:, :, :1000].repeat(1, 1, 2)[:, :1000]):
        sphere = Sphere.of_image(image, WHOLE, 100.0, 64)
        for pitch in (0, 45, 90):
            # 0.1: a share of a pixel more of black than of white, in boxes of 11.8 px
            torch.testing.assert_close(sphere.view(30, pitch), torch.full((3, 64, 64), 0.5), rtol=0, atol=0.1)


def test_meridians_do_not_alias_towards_a_pole():
    """There, a row has more pixels than its circle has room for; at the horizon they stay."""
    stripes = (torch.arange(720) // 2 % 2).float().expand(3, 360, 720)
    sphere = Sphere.of_image(stripes, WHOLE, 90.0)
    pole, horizon = sphere.view(0, 90), sphere.view(0, 0)
    middle = slice(pole.shape[-1] * 2 // 5, pole.shape[-1] * 3 // 5)  # within 11 degrees; stripes have 0.8 px there
    assert pole[:, middle, middle].sub(0.5).abs().max() < 0.08  # of 0.5 that there would be without care
    assert horizon.std() > 0.4


def test_rows_are_smoothed_by_what_their_pixels_are_too_narrow_for():
    """Variance of the kernel at a latitude: tan^2 / 6 px^2; never negative, and it keeps the sum."""
    image = torch.zeros(1, 180, 360)
    image[..., 180] = 1
    smooth = smooth_rows(image).double()
    away = torch.arange(360) - 180.0
    latitude = torch.deg2rad(89.5 - torch.arange(180.0)).double()
    variance = (smooth[0] * away**2).sum(-1)
    narrow = latitude.abs() < math.radians(85)  # nearer a pole the kernel goes round; 1e-7 180 px away counts 3e-3
    torch.testing.assert_close(variance[narrow], latitude[narrow].tan() ** 2 / 6, rtol=1e-3, atol=5e-3)
    torch.testing.assert_close(smooth.sum(-1), torch.ones(1, 180).double(), rtol=0, atol=1e-5)
    assert smooth.min() > -1e-6  # of the transform in float32
    torch.testing.assert_close(smooth[:, 89:91].float(), image[:, 89:91], rtol=0, atol=1e-4)


def test_the_edges_of_a_part_are_no_neighbours():
    image = torch.zeros(3, 60, 120)
    image[..., :60] = 1
    part = Sphere.of_image(image, Placement(0.25, 0.0, 0.5, 0.5), 90.0).image
    assert part[:, 0, 0].min() > 0.9  # row 0 is at the pole, where a whole circle becomes one colour
    assert part[:, 0, -1].max() < 0.1
    assert Sphere.of_image(image, WHOLE, 90.0).image[:, 0, 0].max() < 0.8


def test_an_area_mean_is_exact_for_whole_and_for_broken_shares():
    image = torch.rand(2, 3, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(area_mean(image, 4, -1), image.unflatten(-1, (4, 3)).mean(-1))
    torch.testing.assert_close(area_mean(image, 1, 1), image.mean(1, keepdim=True))
    fine = image.repeat_interleave(5, -1)  # each pixel as five, so that a share of 12 / 5 px is 12 of them
    torch.testing.assert_close(area_mean(image, 5, -1), fine.unflatten(-1, (5, 12)).mean(-1))
    assert area_mean(image, 12, -1) is image
    assert area_mean(image, 20, -1) is image


def test_strips_of_a_large_picture_give_what_the_whole_gives(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    passed, to_unit = [], module.to_unit
    monkeypatch.setattr(module, "STRIP", 6000)
    monkeypatch.setattr(module, "to_unit", lambda strip: passed.append(strip.shape) or to_unit(strip))
    found = Sphere.of_pixels(pixels, WHOLE, 100.0, 64)
    assert {shape[:2] for shape in passed} == {(10, 600)}
    whole = Sphere.of_image(to_unit(pixels), WHOLE, 100.0, 64)
    torch.testing.assert_close(found.padded, whole.padded, rtol=0, atol=1e-6)  # sums in another order


def test_a_gradient_reaches_the_pixels_that_are_seen():
    image = torch.full((3, 90, 180), 0.5, requires_grad=True)
    Sphere.of_image(image, WHOLE, 90.0, 64).view(0, 0).mean().backward()
    # A grey picture stays as grey as it is: what each pixel counts comes to one, a third in each channel.
    torch.testing.assert_close(image.grad.sum((1, 2)), torch.full((3,), 1 / 3))
    middle, behind = image.grad[:, 40:50, 85:95], image.grad[:, 40:50, :30]
    assert middle.min() > 0
    assert behind.abs().max() < 1e-6 * middle.min()  # of the transform in float32


def test_rays_that_were_cast_without_gradients_serve_with_them():
    with torch.inference_mode():
        Sphere.of_image(torch.zeros(3, 90, 180), WHOLE, 93.0).view(0, 11)
    image = torch.zeros(3, 90, 180, requires_grad=True)
    Sphere.of_image(image, WHOLE, 93.0).view(0, 11).sum().backward()
    assert image.grad.abs().max() > 0


def test_a_viewport_is_held_by_a_part_that_shows_all_of_it():
    band = Sphere.of_image(torch.zeros(3, 60, 180), Placement(0, 1 / 6, 1, 2 / 3), 100.0)  # 60 degrees up and down
    assert band.holds(170, 0)
    assert not band.holds(0, 45)
    front = Sphere.of_image(torch.zeros(3, 90, 90), Placement(0.25, 0, 0.5, 1), 100.0)  # 90 degrees to each side
    assert [front.holds(yaw, 0) for yaw in (0, 39, 41, -39, -41, 180)] == [True, True, False, True, False, False]
    assert not front.holds(0, 90)


def test_a_part_shows_what_the_whole_shows_there():
    """Both sides of the seam: a part may begin before it and end behind it."""
    panorama = make_panorama(360)
    whole = Sphere.of_image(panorama, WHOLE, 90.0)
    for left in (0.25, 0.75):
        start = round(left * 360)
        part = panorama.roll(-start, -1)[:, 20:160, :180]
        sphere = Sphere.of_image(part, Placement(left, 20 / 180, 0.5, 140 / 180), 90.0)
        yaw = 360 * (left + 0.25) - 180
        assert sphere.holds(yaw, 0)
        torch.testing.assert_close(sphere.view(yaw, 0), whole.view(yaw, 0), rtol=0, atol=2e-3)  # rows smoothed as far


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0, 0, 0, 1), "width: expected a share of the whole sphere from 0 to 1, got 0"),
        ((-0.1, 0, 1, 1), "left: expected a share"),
        ((0, 0, 2, 1), "width: expected a share"),
        ((0, math.nan, 1, 1), "top: expected a share"),
        ((0, 0.5, 1, 0.6), "height: expected no more than is left below 0.5, got 0.6"),
        (("0", 0, 1, 1), "left: expected a share from 0 to 1, got '0'"),
    ],
)
def test_what_is_no_part_of_a_sphere_is_refused(shares, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Placement(*shares)
