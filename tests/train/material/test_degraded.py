"""Series of ours: three versions that lose ever more, of what their kind is about, at the price that is stated."""

import numpy as np
import pytest
from scipy import ndimage

from qfm_metric.defects import NAMES
from qfm_metric.train.defects import OWN
from qfm_metric.train.material import degraded

SIDE = 512
SEEDS = range(4)


def blur(sigma):
    return 1 / (1 + sigma)


@pytest.fixture(scope="module")
def clean():
    """Soft shapes under fine texture, mid-grey on average."""
    rng = np.random.default_rng(0)
    shapes = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE, 3)), (20, 20, 0))
    texture = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE, 3)), (0.7, 0.7, 0))
    return np.clip(110 + 45 * shapes / shapes.std() + 12 * texture / texture.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def made(clean):
    """Per kind, the versions of a few seeds."""
    return {name: [kind(clean, np.random.default_rng(s), blur) for s in SEEDS] for name, kind in degraded.KINDS.items()}


def detail(pixels):
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def distance(pixels, clean):
    return float(np.abs(pixels.astype(float) - clean).mean())


def test_all_own_kinds_are_made_but_for_nothing():
    assert set(degraded.KINDS) == set(OWN) - {"nothing"}


@pytest.mark.parametrize("kind", degraded.KINDS)
def test_versions_are_pictures_that_lose_quality(made, clean, kind):
    for versions in made[kind]:
        assert len(versions) == 3
        assert all(version.pixels.shape == clean.shape and version.pixels.dtype == np.uint8 for version in versions)
        assert all(0 <= version.quality < 1 for version in versions)
        assert versions[2].quality < versions[0].quality


@pytest.mark.parametrize("kind", [kind for kind in degraded.KINDS if kind not in ("enlarged", "sharpened")])
def test_versions_lose_ever_more(made, clean, kind):
    """Factors of enlarging are drawn from ranges that overlap."""
    for versions in made[kind]:
        assert versions[0].quality > versions[1].quality > versions[2].quality
        changes = [distance(version.pixels, clean) for version in versions]
        assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("kind", degraded.KINDS)
def test_what_is_lost_is_the_price_of_what_is_wrong(made, kind):
    for versions in made[kind]:
        for version in versions:
            assert set(version.costs) <= set(NAMES)
            assert max(version.costs.values()) == pytest.approx(1 - version.quality)


@pytest.mark.parametrize("kind", degraded.KINDS)
def test_the_same_seed_makes_the_same_pixels(made, clean, kind):
    again = degraded.KINDS[kind](clean, np.random.default_rng(1), blur)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again, made[kind][1], strict=True))
    assert len({versions[0].pixels.tobytes() for versions in made[kind]}) > 1


def test_enlarged_pictures_cost_what_their_blur_does(made, clean):
    """By 1.3, 2.1 and 4 at the least, and up to 1.9 times as much."""
    for versions in made["enlarged"]:
        for version, factor in zip(versions, degraded.FACTORS, strict=True):
            least, most = (blur(0.5 * np.sqrt((factor * f) ** 2 - 1)) for f in (1.9, 1))
            assert least <= version.quality <= most
        if "upscaled" in versions[0].costs:
            assert detail(versions[2].pixels) < 0.7 * detail(clean)


def test_sharpened_pictures_are_harsher_than_enlarged_ones(made):
    for versions in made["sharpened"]:
        assert all(version.costs["oversharpened"] == pytest.approx(0.4 * (1 - version.quality)) for version in versions)
    assert np.mean([detail(v[1].pixels) for v in made["sharpened"]]) > 1.2 * np.mean(
        [detail(v[1].pixels) for v in made["enlarged"]]
    )


def test_exposure_is_named_by_the_way_it_goes(clean):
    names = set()
    for seed in range(10):
        versions = degraded.exposure(clean, np.random.default_rng(seed), blur)
        (name,) = versions[0].costs
        change = [version.pixels.mean() - clean.mean() for version in versions]
        assert change == sorted(change, reverse=name == "dark")
        assert (change[0] > 0) == (name == "bright")
        names.add(name)
    assert names == {"bright", "dark"}


def test_a_cast_moves_channels_apart(made, clean):
    for versions in made["cast"]:
        shifts = [np.ptp((version.pixels.astype(float) - clean).mean((0, 1))) for version in versions]
        assert 0 < shifts[0] < shifts[1] < shifts[2]


def test_smear_takes_texture_and_leaves_shapes(made, clean):
    for versions in made["smear"]:
        assert detail(versions[2].pixels) < 0.8 * detail(clean)
        soft, smeared = (ndimage.gaussian_filter(x.astype(float), (8, 8, 0)) for x in (clean, versions[2].pixels))
        assert np.corrcoef(soft.ravel(), smeared.ravel())[0, 1] > 0.99


def test_warped_pictures_keep_their_colours(made, clean):
    for versions in made["warp"]:
        for version in versions:
            assert abs(version.pixels.mean() - clean.mean()) < 2  # of 255: pixels move, and some are drawn twice


def test_local_warping_leaves_the_rest_and_costs_less(clean):
    local = []
    for seed in range(8):
        last = degraded.warp(clean, np.random.default_rng(seed), blur)[2]
        # Its place is at least 130 px from each edge; where nothing moves, interpolation gives the very pixels.
        local.append(np.mean(last.pixels[:8, :8] == clean[:8, :8]) > 0.5)
        assert (last.quality >= degraded.WARPED_LOCALLY) == local[-1] or not local[-1]
    assert {True, False} == set(local)


def test_grain_goes_up_to_drowning(made, clean):
    for versions in made["grain"]:
        deviations = [(version.pixels.astype(float) - clean).std() for version in versions]
        assert 12 < deviations[0] < 25  # 18 times .9 to 1.3, less what is clipped
        assert deviations[2] > 50
