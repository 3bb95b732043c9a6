"""Views: parts of a picture that are never enlarged, details as cut out of a larger picture, bars, grey."""

import numpy as np
import pytest

from qfm_metric.train.material import framing
from qfm_metric.train.material.framing import Area, Bars, Frame, Kernel

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
ONE_LEVEL = 1  # Pillow takes a box as float32, which can move a value over the edge of rounding


def areas(whole=0.3, stretch=0.07):
    rng = np.random.default_rng(0)
    return [framing.draw_area(rng, (96, 128), (32, 40), whole, stretch) for _ in range(400)]


def test_areas_lie_in_the_picture_and_are_never_smaller_than_the_view():
    for area in areas():
        assert 0 <= area.top <= 96 - area.height
        assert 0 <= area.left <= 128 - area.width
        assert area.height >= 32
        assert area.width >= 40
    assert len({area.top for area in areas()}) > 20  # anywhere


def test_some_areas_are_as_large_as_the_shape_allows_and_others_of_any_scale():
    assert {(area.height, area.width) for area in areas(whole=1.0, stretch=0)} == {(96, 120)}
    sides = np.array([area.height / 32 for area in areas(whole=0.0)])
    thirds = np.histogram(np.log(sides), 3, (0, np.log(3)))[0] / len(sides)
    assert thirds.min() > 0.2  # of 400 draws a third each: five standard deviations, and room for what is clipped


def test_areas_are_stretched_a_little():
    ratios = np.array([np.log(area.height / area.width * 40 / 32) for area in areas(whole=0.0)])
    assert 0.05 < ratios.std() < 0.2  # twice .07, less where an area ends at the picture's edge
    assert abs(ratios.mean()) < 0.03


def test_a_picture_that_is_too_small_is_taken_whole():
    assert framing.draw_area(np.random.default_rng(0), (32, 40), (32, 40), 0.0, 0.5) == Area(0, 0, 32, 40)


@pytest.mark.parametrize("kernel", sorted(set(framing.KERNELS)))
def test_a_detail_is_cut_out_of_the_picture_at_its_virtual_size(kernel):
    area = Area(5, 9, 88, 110)
    frame = Frame(area, (32, 40), kernel, (70, 90), (31, 44))
    whole, detail = frame.views(PICTURE)
    virtual = framing.take(PICTURE, area, (70, 90), kernel)
    assert np.abs(detail - virtual[31:63, 44:84].astype(int)).max() <= ONE_LEVEL
    assert np.array_equal(whole, framing.take(PICTURE, area, (32, 40), kernel))


def test_a_detail_at_the_last_pixel_is_inside():
    for height in range(32, 96):
        frame = Frame(Area(0, 0, 96, 127), (32, 40), Kernel.BICUBIC, (height, 99), (height - 32, 59))
        assert frame.views(PICTURE)[1].shape == (32, 40, 3)


def test_a_detail_at_the_sources_own_size_is_its_very_pixels():
    frame = Frame(Area(3, 4, 90, 100), (32, 40), Kernel.LANCZOS, (90, 100), (50, 60))
    assert np.array_equal(frame.views(PICTURE)[1], PICTURE[53:85, 64:104])


def test_a_picture_that_is_rendered_first_has_the_same_detail():
    frame = Frame(Area(0, 0, 96, 128), (32, 40), Kernel.BILINEAR, (64, 80), (20, 30))
    rendered, again = frame.render(PICTURE)
    assert rendered.shape == (64, 80, 3)
    assert np.abs(again.views(rendered)[1] - frame.views(PICTURE)[1].astype(int)).max() <= ONE_LEVEL


def test_frames_have_virtual_sizes_between_the_views_and_the_areas():
    rng = np.random.default_rng(0)
    area, size = Area(0, 0, 512, 500), (160, 160)
    drawn = [framing.draw_frame(rng, area, size, Kernel.BOX, 3.4) for _ in range(600)]
    heights = np.array([frame.virtual[0] for frame in drawn])
    assert heights.min() >= 160
    assert heights.max() <= 500
    thirds = np.histogram(np.log(heights / 160), 3, (0, np.log(500 / 160)))[0] / len(drawn)
    assert thirds.min() > 0.25  # a third each, by four standard deviations of 600 draws
    for frame in drawn:
        assert all(0 <= c <= v - s for c, v, s in zip(frame.corner, frame.virtual, size, strict=True))
    assert max(framing.draw_frame(rng, area, size, Kernel.BOX, 1.5).virtual[0] for _ in range(99)) <= 240


def test_without_a_ratio_there_is_one_view():
    frame = framing.draw_frame(np.random.default_rng(0), Area(0, 0, 96, 128), (32, 40), Kernel.BOX, None)
    assert len(frame.views(PICTURE)) == 1


def test_bars_leave_most_of_the_view():
    rng = np.random.default_rng(0)
    bars = [Bars.draw(rng, (128, 160)) for _ in range(300)]
    assert {bar.across for bar in bars} == {True, False}
    assert all(1 <= bar.thickness < 128 // 5 for bar in bars)
    assert np.mean([bar.thickness >= 16 for bar in bars]) == pytest.approx(0.19, abs=0.09)  # half of 9 in 24
    assert Bars(10, True).inside((128, 160)) == (108, 160)
    assert Bars(10, False).inside((128, 160)) == (128, 140)


def test_a_letterboxed_picture_is_in_the_middle():
    framed = framing.letterbox(PICTURE, (110, 130), 7)
    assert np.array_equal(framed[7:103, 1:129], PICTURE)
    framed[7:103, 1:129] = 7
    assert (framed == 7).all()


def test_grey_is_the_luma_of_all_channels():
    found = framing.grey(PICTURE)
    assert found.dtype == np.uint8
    assert (found == found[..., :1]).all()
    expected = PICTURE.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(found[..., 0] - expected).max() <= 0.5 + 1e-4  # rounded, from float32


def test_shapes_are_drawn_by_their_shares():
    rng = np.random.default_rng(0)
    drawn = [framing.draw_shape(rng, [(0.25, [(1, 1)]), (0.75, [(2, 2), (3, 3)])]) for _ in range(800)]
    for shape, share in (((1, 1), 0.25), ((2, 2), 0.375), ((3, 3), 0.375)):
        assert np.mean([found == shape for found in drawn]) == pytest.approx(share, abs=0.07)  # four deviations


def test_shapes_are_what_the_network_takes():
    shares = [share for share, _ in framing.SHAPES]
    assert sum(shares) == pytest.approx(1)
    sizes = [size for _, group in framing.SHAPES for size in group] + framing.SMALL_JOINT + framing.LARGE_JOINT
    assert all(side % 32 == 0 for size in sizes for side in size)
    areas = [height * width for height, width in framing.LARGE_JOINT]
    assert 80_000 < min(areas) <= max(areas) < 95_000


def test_pixels_become_a_tensor_in_the_unit_range():
    pixels = np.array([[[0, 51, 255], [255, 0, 0]]], np.uint8)
    assert framing.to_tensor(pixels)[:, 0].tolist() == [[0, 1], [pytest.approx(0.2), 0], [1, 0]]
