"""What is drawn: from which pictures, in which shapes, how much quality each version keeps, the same every time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import CONFIG, DRAWN, FROZEN, fresh_net, gather, levels, open_decoded

from qfm_metric.train import material
from qfm_metric.train.distortions import distort

QUALITY = {(level.data_set, level.type, level.level): level.quality for level in levels()}


@pytest.fixture(scope="module")
def decoded(world):
    return open_decoded(world)


@pytest.fixture(scope="module")
def drawn(world):
    return gather(world, fresh_net(), levels())


@pytest.fixture(scope="module")
def plans(decoded):
    """The series before their pictures are made, by name."""
    train = decoded.select("train")
    clean = train[decoded.mos[train] >= material.CLEAN_MOS]
    return {plan.name: plan for plan in material._series_plans(decoded, clean, levels(), DRAWN)}


def shape(pool):
    """Height and width of the pool's views, in units of 32 px; this network's cells are of 16."""
    rows, columns = pool.views.cells.shape[-2:]
    return rows // 2, columns // 2


def test_photographs_come_whole_cropped_and_from_afar(drawn):
    assert [shape(pool) for pool in drawn.photos] == [(3, 3), (3, 4), (4, 3), (2, 2)]
    assert [len(pool.source) for pool in drawn.photos] == [16, 4, 4, 8]
    assert sum(pool.share for pool in drawn.photos) == pytest.approx(1)
    assert all(pool.rungs == 1 and (pool.quality == 1).all() for pool in drawn.photos)
    for pool in drawn.photos:
        assert len(pool.views) == len(pool.source) == len(pool.quality)
        assert pool.starts.tolist() == list(range(len(pool.source)))


def test_series_have_the_shapes_of_their_pools(drawn):
    # Crops of 384 x 512 px, resampled whole pictures, both from afar, crops of two distortions, nothing.
    shapes = [(3, 4), (3, 3), (2, 2), (2, 2), (3, 4), (3, 3)]
    assert [shape(pool) for pool in drawn.series] == shapes
    assert [len(pool.source) for pool in drawn.series] == [4 * n for n in (6, 2, 3, 2, 2, 2)]
    for pool in drawn.series:
        assert pool.rungs == material.RUNGS
        assert len(pool.views) == len(pool.source) == len(pool.quality)
        assert pool.starts.tolist() == list(range(0, len(pool.source), pool.rungs))
        assert len(pool.types) == len(pool.starts)


def test_types_are_left_out(drawn):
    part = material.leave_out(drawn, ["KADID-10k/10"])
    near, far, nothing = part.series  # resampled and composed series have no type of their own: all may hold it
    assert set(near.types) == set(far.types) == {"KADID-10k/1", "TID2013/1"}
    assert (near.starts % near.rungs == 0).all()
    assert (nothing.source == -1).all()
    assert part.photos is drawn.photos
    assert set(drawn.series[0].types) == {"KADID-10k/1", "KADID-10k/10", "TID2013/1"}


def test_only_the_training_part_is_drawn_from_and_series_start_from_good_pictures(drawn, decoded):
    train = set(decoded.select("train"))
    assert set(drawn.photos[0].source) == train
    assert all(set(pool.source) <= train for pool in drawn.photos)
    assert set(np.concatenate([pool.source for pool in drawn.photos[1:]])) == train  # each is in one of the crops
    sources = np.concatenate([pool.source for pool in drawn.series])
    assert set(sources) - {-1} <= train
    assert (decoded.mos[sources[sources >= 0]] >= material.CLEAN_MOS).all()
    assert set(drawn.validation_indices) == set(decoded.select("val"))
    assert len(drawn.validation) == len(drawn.validation_indices)


def kind_of(name):
    data_set, number = name.split("/")
    return data_set, int(number)


def test_a_share_of_the_pictures_is_cropped(decoded):
    train = decoded.select("train")
    half = material._photo_plans(decoded, train, replace(DRAWN, crops=0.5))
    assert [len(plan.source) for plan in half] == [16, 2, 2, 4]
    none = material._photo_plans(decoded, train, replace(DRAWN, crops=0.0))
    assert [len(plan.source) for plan in none] == [16, 0, 0, 0]


def test_every_picture_of_a_series_is_of_one_photograph(drawn):
    for pool in drawn.series:
        source = pool.source.reshape(-1, pool.rungs)
        assert (source == source[:, :1]).all()


def test_distorted_series_keep_what_people_say(plans):
    for name, count in (("distorted", 6), ("distorted-far", 3)):
        plan = plans[name]
        quality = plan.quality.reshape(-1, material.RUNGS)
        assert len(quality) == len(plan.types) == count
        assert (quality[:, 0] == 1).all()
        assert (np.diff(quality, axis=1) < 0).all()
        for row, name in zip(quality, plan.types, strict=True):
            known = {np.float32(QUALITY[(*kind_of(name), level)]) for level in range(1, 6)}
            assert set(row[1:]) <= known
        assert set(Counter(plan.types).values()) == {count // 3}  # every type as often


def test_distorted_pixels_are_those_of_the_table(plans, decoded):
    """The three versions are the three levels whose quality they carry, of the same crop."""
    plan = plans["distorted"]
    for series in range(3):
        first = series * material.RUNGS
        kind = kind_of(plan.types[series])
        clean = plan.render(first)
        assert clean.shape == (*material.FRAME, 3)
        drawn = [round((1 - quality) / 0.15) for quality in plan.quality[first + 1 : first + material.RUNGS]]
        for rung, level in enumerate(drawn, start=1):
            expected = distort(clean, *kind, level, seed=series)
            assert np.array_equal(plan.render(first + rung), expected)


def test_resampled_series_fall_as_blur_does(plans):
    for name in ("resampled", "resampled-far"):
        quality = plans[name].quality.reshape(-1, material.RUNGS)
        assert (quality[:, 0] == 1).all()
        assert (np.diff(quality, axis=1) <= 0).all()
        assert quality[:, 1:].max() <= QUALITY["KADID-10k", 1, 1]
        detail = [np.abs(np.diff(plans[name].render(i).astype(int), axis=1)).mean() for i in (0, material.RUNGS - 1)]
        assert detail[1] < 0.8 * detail[0]  # noise is smoothed
    blur = material._blur_quality(levels())
    assert [blur(sigma) for sigma in (0.05, 1, 1.5, 9)] == pytest.approx([0.85, 0.55, 0.475, 0.25])


def test_two_distortions_keep_the_product(plans):
    plan = plans["composed"]
    clean, first, second, both = plan.quality.reshape(-1, material.RUNGS).T
    assert (clean == 1).all()
    np.testing.assert_allclose(both, first * second, rtol=1e-6)
    assert set(first) | set(second) <= {np.float32(quality) for quality in QUALITY.values()}
    pictures = [plan.render(i) for i in range(material.RUNGS)]
    assert len({picture.tobytes() for picture in pictures}) == material.RUNGS


def test_nothing_is_noise_flat_blocks_and_checkers(plans):
    plan = plans["nothing"]
    assert (plan.source == -1).all()
    assert (plan.quality == 0).all()
    pictures = [plan.render(i) for i in range(8)]
    assert all(picture.shape == (320, 320, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert pictures[0].std() > 60
    assert (pictures[0] == pictures[0][..., :1]).all()  # grey noise, and colour noise
    assert not (pictures[4] == pictures[4][..., :1]).all()
    for flat in (pictures[1], pictures[5]):
        assert (flat == flat[0, 0]).all()
    for checker in (pictures[3], pictures[7]):
        assert len(np.unique(checker.reshape(-1, 3), axis=0)) == 2


def test_the_same_seed_gives_the_same_pixels(plans, decoded):
    train = decoded.select("train")
    clean = train[decoded.mos[train] >= material.CLEAN_MOS]
    for config, same in ((DRAWN, True), (replace(DRAWN, seed=1), False)):
        again = {plan.name: plan for plan in material._series_plans(decoded, clean, levels(), config)}
        assert list(again) == list(plans)
        for name, plan in plans.items():
            changed = [not np.array_equal(plan.render(i), again[name].render(i)) for i in (0, 3)]
            assert any(changed) != same, name
    photos = [[plan.render(0) for plan in material._photo_plans(decoded, train, DRAWN)] for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*photos, strict=True))


def test_crops_lie_anywhere_and_never_leave_the_picture():
    rng, pixels = np.random.default_rng(0), np.arange(40 * 50 * 3).reshape(40, 50, 3)
    corners = set()
    for _ in range(200):
        piece = material.crop(pixels, (30, 60), rng)
        assert piece.shape == (30, 50, 3)  # a side that is too short stays
        corners.add(int(piece[0, 0, 0]) // 150)
    assert corners == set(range(11))


def test_pixels_become_a_tensor_in_the_unit_range():
    pixels = np.array([[[0, 51, 255], [255, 0, 0]]], np.uint8)
    assert material.to_tensor(pixels)[:, 0].tolist() == [[0, 1], [pytest.approx(0.2), 0], [1, 0]]


def test_without_a_severity_table_there_are_no_series(world, tmp_path):
    config = replace(DRAWN, crops=0.0)
    found = material.gather(fresh_net(CONFIG), FROZEN, open_decoded(world), [], tmp_path, config, workers=1)
    assert found.series == []
    assert len(found.photos) == 1
