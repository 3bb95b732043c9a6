"""The pictures of a series are seen alike; photographs are drawn by how rare their MOS is."""

import numpy as np
import pytest

from qfm_metric.defects import NAMES
from qfm_metric.train.material import LENGTH, MaterialConfig
from qfm_metric.train.material.samples import Pool, pictures_of
from qfm_metric.train.material.series import Series
from qfm_metric.train.pseudo_labels import Labels
from qfm_metric.train.severity import FLOOR

MOS = np.array([0.9, 0.7], np.float32)
LABELS = Labels(MOS, MOS, np.zeros_like(MOS))
# Brighter to the right; no kernel overshoots to 0 or 255, even in the brightest version.
CLEAN = np.random.default_rng(0).integers(70, 100, (160, 192, 3), dtype=np.uint8) + np.arange(0, 48, 0.25)[:, None]
STEP = 20  # grey levels from one version to the next
SIZE = (96, 96)


def series(costs=({}, {"noise": 0.2}, {"noise": 0.5}, {"noise": 0.8}), source=1):
    pictures = [(CLEAN + STEP * place).astype(np.uint8) for place in range(LENGTH)]
    return Series(pictures, [1.0, 0.8, 0.5, 0.2], list(costs), [57, 10, 10, 10], source)


def samples(seed, joint=False, made=None, **config):
    config = MaterialConfig(**{"grey": 0.0} | config)
    return pictures_of(np.random.default_rng(seed), made or series(), LABELS, SIZE, config, joint)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("grey", [0.0, 0.5])
def test_all_pictures_of_a_series_are_of_one_place_size_kernel_and_flip(joint, grey):
    """They are the same but for a constant, and so are their views: within a level, as kernels round."""
    for seed in range(16):
        found = samples(seed, joint, grey=grey)
        assert all(len(sample.views) == 1 + joint for sample in found)
        for first, *others in zip(*(sample.views for sample in found), strict=True):
            for place, view in enumerate(others, start=1):
                assert np.abs(view.astype(int) - first - STEP * place).max() <= 1


def test_half_of_them_are_mirrored():
    slopes = [samples(seed)[0].views[0].mean((0, 2)) for seed in range(40)]
    mirrored = sum(slope[-8:].mean() < slope[:8].mean() for slope in slopes)
    assert mirrored == pytest.approx(20, abs=11)  # 3.5 standard deviations of 40 draws


def test_labels_are_those_of_the_series():
    found = samples(0)
    assert [sample.target for sample in found] == pytest.approx([FLOOR + (0.7 - FLOOR) * q for q in (1, 0.8, 0.5, 0.2)])
    assert [sample.type for sample in found] == [57, 10, 10, 10]
    assert {sample.source for sample in found} == {1}
    costs = np.array([sample.defects for sample in found])
    assert costs[:, NAMES.index("noise")] == pytest.approx([0, 0.2, 0.5, 0.8])
    assert np.count_nonzero(costs) == 3


def test_of_pictures_of_nothing_no_defect_is_known():
    found = samples(0, made=series(costs=[{}] * 4, source=-1))
    assert all(np.isnan(sample.defects).all() for sample in found)


@pytest.mark.parametrize(("name", "grey"), [("noise", True), ("colour", False), ("fringes", False)])
def test_a_series_becomes_grey_unless_it_is_about_colour(name, grey):
    made = series(costs=[{}, {"noise": 0.1}, {name: 0.2}, {}])
    for sample in samples(0, made=made, grey=1.0):
        assert (sample.views[0] == sample.views[0][..., :1]).all() == grey


def test_rare_mos_are_drawn_more_often():
    mos = np.array([0.1] * 1 + [0.5] * 16 + [0.9] * 4, np.float32)
    pool = Pool.of(np.arange(21), mos)
    assert pool.chances.sum() == pytest.approx(1)
    sums = [pool.chances[mos == np.float32(level)].sum() for level in (0.1, 0.5, 0.9)]
    assert np.array(sums) / sums[0] == pytest.approx([1, 4, 2])
