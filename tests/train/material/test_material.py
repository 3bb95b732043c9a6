"""What a step looks at: the same by its seed, within its budget, as often of each kind as the configuration says."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import MATERIAL, open_decoded, open_material

from qfm_metric.defects import NAMES
from qfm_metric.train import defects
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.distortions import seed_of_step
from qfm_metric.train.material import LENGTH, MaterialConfig, framing
from qfm_metric.train.material.samples import pictures_of
from qfm_metric.train.severity import FLOOR

PLAIN = replace(MATERIAL, letterbox=0.0, recompressed=0.0, grey=0.0)
ONLY_NOTHING = dict.fromkeys(defects.OWN, 0.0) | {"nothing": 1.0}


@pytest.fixture(scope="module")
def material(world):
    return open_material(world)


def batches(world, config, steps=4, joint=False):
    found = open_material(world, config)
    return [found.draw((0, step), 0, joint) for step in range(steps)]


def of_series(batch, values):
    """Of each series: `(S, LENGTH, ...)`."""
    return values[batch.photos :].reshape(-1, LENGTH, *values.shape[1:])


@pytest.mark.parametrize("joint", [False, True])
def test_equal_seeds_draw_equal_batches_and_others_do_not(material, world, joint):
    again = open_material(world)
    for step in range(3):
        a, b = (found.draw((0, step), 1, joint) for found in (material, again))
        for name, value in vars(a).items():
            np.testing.assert_array_equal(value, vars(b)[name])
    drawn = [material.draw(seed, rank, joint) for seed, rank in (((0, 1), 0), ((0, 1), 1), ((0, 2), 0), ((1, 1), 0))]
    assert len({batch.views.tobytes() for batch in drawn}) == 4


@pytest.mark.parametrize("joint", [False, True])
def test_ranks_draw_as_many_pictures_of_one_shape(material, joint):
    for step in range(4):
        a, b = (material.draw((0, step), rank, joint) for rank in (0, 1))
        assert a.views.shape == b.views.shape
        assert a.photos == b.photos
        assert not np.array_equal(a.sources, b.sources)


@pytest.mark.parametrize("joint", [False, True])
def test_a_batch_is_what_it_says(material, joint):
    for step in range(6):
        batch = material.draw((1, step), 0, joint)
        count = len(batch.views)
        height, width = batch.views.shape[2:4]
        assert batch.views.shape == (count, 1 + joint, height, width, 3)
        assert (count - batch.photos) % LENGTH == 0
        assert 0 < batch.photos < count
        assert batch.defects.shape == (count, len(NAMES))
        found = {name: getattr(batch, name) for name in ("targets", "weights", "sources", "types", "subsets")}
        assert {value.shape for value in found.values()} == {(count,)}
        kinds = [batch.views.dtype, batch.targets.dtype, batch.defects.dtype, batch.types.dtype, batch.sources.dtype]
        assert kinds == [np.uint8, np.float32, np.float32, np.int64, np.int64]
        assert ((batch.targets > 0) & (batch.targets <= 1)).all()
        shapes = [*framing.SMALL_JOINT, *framing.LARGE_JOINT] if joint else [s for _, g in framing.SHAPES for s in g]
        assert (height, width) in shapes


@pytest.mark.parametrize("joint", [False, True])
def test_photographs_are_of_the_training_part_with_their_mos(material, world, joint):
    decoded = open_decoded(world)
    train, seen = set(decoded.select("train")), set()
    for step in range(12):
        batch = material.draw((2, step), 0, joint)
        photos = slice(batch.photos)
        seen |= set(batch.sources[photos])
        np.testing.assert_array_equal(batch.targets[photos], decoded.mos[batch.sources[photos]])
        assert [decoded.rows[i].subset for i in batch.sources[photos]] == batch.subsets[photos].tolist()
        assert (batch.types[photos] == -1).all()
        assert np.isnan(batch.defects[photos]).all()
        assert ((batch.weights[photos] > 0.3) & (batch.weights[photos] <= 1)).all()
    assert seen <= train
    assert len(seen) > len(train) / 2


def test_a_photograph_counts_the_less_the_less_of_it_is_seen(world):
    whole = batches(world, replace(PLAIN, whole_photos=1.0, stretch=0.0))
    part = batches(world, replace(PLAIN, whole_photos=0.0, stretch=0.0))
    weights = [np.concatenate([batch.weights[: batch.photos] for batch in found]) for found in (whole, part)]
    assert weights[0].min() > 0.3 + 0.7 * np.sqrt(160 / 224) - 0.01  # the longest shape sees that share
    assert weights[1].mean() < weights[0].mean() - 0.1


@pytest.mark.parametrize("joint", [False, True])
def test_targets_of_series_fall_from_the_clean_pictures(material, joint):
    for step in range(10):
        batch = material.draw((3, step), 0, joint)
        targets, types, sources = (of_series(batch, x) for x in (batch.targets, batch.types, batch.sources))
        assert (sources == sources[:, :1]).all()
        assert (batch.subsets[batch.photos :] == "").all()
        assert (batch.weights[batch.photos :] == 1).all()
        for target, type, source in zip(targets, types, sources[:, 0], strict=True):
            assert (target >= np.float32(FLOOR)).all()
            if source < 0:
                assert (target == np.float32(FLOOR)).all()
            else:
                assert target[0] == target.max()
                assert target[3] == target.min() or type[3] == -1 or defects.TYPES[type[3]][0] == "own"
                clean = material.labels.clean[source]
                assert clean >= 0.65
                assert target[0] == clean or type[0] != defects.CLEAN


def test_what_a_version_lost_is_what_its_defects_took(material):
    """The clean picture has none; one defect takes all that is lost, two of them the product of what they leave."""
    seen = set()
    for step in range(30):
        batch = material.draw((4, step))
        known = of_series(batch, batch.defects)
        targets, types, sources = (of_series(batch, x) for x in (batch.targets, batch.types, batch.sources))
        for cost, target, type, source in zip(known, targets, types, sources[:, 0], strict=True):
            if source < 0:
                assert np.isnan(cost).all()
                continue
            assert not cost[0].any()
            quality = (target - FLOOR) / (target[0] - FLOOR)
            for place in range(1, LENGTH):
                if np.count_nonzero(cost[place]) == 1 and type[place] >= 0:
                    assert cost[place].max() == pytest.approx(1 - quality[place], abs=1e-5)  # float32
                elif np.count_nonzero(cost[place]) == 2 and type[place] < 0:
                    assert np.prod(1 - cost[place]) == pytest.approx(quality[place], abs=1e-5)
                seen.add(np.count_nonzero(cost[place]))
    assert seen >= {1, 2}


def test_another_distortion_over_a_series_costs_what_it_costs_alone(world):
    config = replace(PLAIN, composed=1.0)
    found = open_material(world, config)
    for step in range(6):
        series = found.series.draw(np.random.default_rng(step), (384, 512), joint=False)
        single = open_material(world, replace(config, composed=0.0)).series.draw(
            np.random.default_rng(step), (384, 512), joint=False
        )
        changed = [i for i in range(LENGTH) if not np.array_equal(series.pictures[i], single.pictures[i])]
        if series.source < 0:
            assert not changed
            continue
        assert 0 not in changed
        for i in range(LENGTH):
            added = {name: cost for name, cost in series.costs[i].items() if single.costs[i].get(name) != cost}
            if i not in changed:
                assert not added or series.types[i] == -1  # a distortion can leave a picture as it is
                continue
            assert series.types[i] == -1
            (level,) = {
                level for level in found.series.seconds if series.qualities[i] == single.qualities[i] * level.quality
            }
            assert set(added.values()) <= {1 - level.quality}


def test_no_slow_distortion_and_none_that_is_left_out_is_put_over_a_series(world):
    def types(without):
        seconds = open_material(world, replace(PLAIN, without=without)).series.seconds
        return {(level.data_set, level.type) for level in seconds}

    every = types(())
    assert ("KADID-10k", 1) in every
    assert not every & {("KADID-10k", 2), ("TID2013", 13)}  # half a second a picture
    assert types(("KADID-10k/1",)) == every - {("KADID-10k", 1)}


def test_ladders_and_our_own_series_are_drawn_by_their_share(world):
    ladders = batches(world, replace(PLAIN, ladders=1.0), 8)
    data_sets = {defects.TYPES[t][0] for batch in ladders for t in batch.types if 0 <= t < defects.CLEAN}
    assert data_sets == {"KADID-10k", "TID2013"}
    assert -1 in np.concatenate([batch.types[batch.photos :] for batch in ladders])  # two distortions
    ours = batches(world, replace(PLAIN, ladders=0.0), 8)
    kinds = {defects.TYPES[t] for batch in ours for t in batch.types if 0 <= t < defects.CLEAN}
    assert {name for name, _ in kinds} == {"own"}
    assert len(kinds) >= 5
    nothing = batches(world, replace(PLAIN, ladders=0.0, own=ONLY_NOTHING), 3)
    for batch in nothing:
        assert (batch.sources[batch.photos :] == -1).all()
        assert (batch.types[batch.photos :] == defects.type_of("own", "nothing")).all()


def test_a_ladders_pictures_are_seen_alike_and_labelled_as_what_they_are(material, world):
    """A view as large as the picture is the picture: the frames on disk, or their mirror images."""
    config = replace(PLAIN, ladders=1.0, whole_series=1.0, stretch=0.0)
    found = open_material(world, config)
    frames = found.series.ladders
    rng, seen_names = np.random.default_rng(0), set()
    for _ in range(6):
        series = found.series.draw(rng, (384, 512), joint=False)
        samples = pictures_of(rng, series, found.labels, (384, 512), config, joint=False)
        seen = np.stack([sample.views[0] for sample in samples])
        matches = [
            number
            for number in range(len(frames.series))
            for way in (1, -1)
            if np.array_equal(seen, np.stack(frames.pictures(number, found.decoded))[:, :, ::way])
        ]
        (number,) = matches
        ladder = frames.series[number]
        assert samples[0].source == ladder.source
        for sample, steps in zip(samples[1:], ladder.steps, strict=True):
            names = {NAMES[place] for place in np.flatnonzero(sample.defects)}
            expected = {defects.defect_of(*step, seed_of_step(number, n)) for n, step in enumerate(steps)}
            assert names <= expected  # the least harmful level of all takes nothing
            seen_names |= names
    assert len(seen_names) >= 3


def test_letterboxed_photographs_have_bars_of_one_level(world):
    for joint in (False, True):
        for batch in batches(world, replace(PLAIN, letterbox=1.0, black=1.0), joint=joint):
            for whole in batch.views[: batch.photos, 0]:
                rows = [whole[0].max(), whole[-1].max()]
                columns = [whole[:, 0].max(), whole[:, -1].max()]
                # Black, while the pictures have 20 and more; a resized picture's bar may not reach over a whole pixel.
                assert rows == [0, 0] or columns == [0, 0]
    levels = batches(world, replace(PLAIN, letterbox=1.0, black=0.0), 6)
    corners = {tuple(whole[0, 0]) for batch in levels for whole in batch.views[: batch.photos, 0]}
    assert all(len(set(corner)) == 1 for corner in corners)
    assert len(corners) > 5


@pytest.mark.parametrize("joint", [False, True])
def test_grey_pictures_are_grey_in_all_views_unless_their_defect_is_of_colour(world, joint):
    of_colour, found = [NAMES.index(name) for name in ("colour", "fringes")], set()
    for batch in batches(world, replace(PLAIN, grey=1.0), 8, joint):
        grey = (batch.views == batch.views[..., :1]).all((1, 2, 3, 4))
        assert grey[: batch.photos].all()
        for views, cost in zip(of_series(batch, grey), of_series(batch, batch.defects), strict=True):
            kept = bool(np.nan_to_num(cost[:, of_colour]).any())
            assert views[0] != kept
            assert views.all() != kept
            found.add(kept)
    assert found == {True, False}


@pytest.mark.parametrize("joint", [False, True])
def test_photographs_that_are_coded_once_more_differ_a_little(world, joint):
    """Until the first photograph's quality is drawn, all draws are the same; its flip comes after."""
    (plain,), (coded,) = (batches(world, replace(PLAIN, recompressed=x), 1, joint) for x in (0.0, 1.0))
    assert plain.sources[0] == coded.sources[0]
    first, again = plain.views[0].astype(float), coded.views[0]
    change = min(np.abs(first - again).mean(), np.abs(first - again[:, :, ::-1]).mean())
    assert 0.1 < change < 8  # grey levels: the pictures are noise of 30, of which JPEG keeps half the colour at best


def test_a_step_keeps_to_its_pixels(world):
    for joint in (False, True):
        config = MaterialConfig(subsets={})
        for batch in batches(world, config, 5, joint):
            pixels = batch.views[..., 0].size
            fewest = config.fewest_joint if joint else config.fewest_photos
            least = (fewest + LENGTH) * batch.views[0, ..., 0].size
            assert pixels <= max(config.pixels * 1.1, least)  # numbers of pictures are rounded
            assert fewest <= batch.photos <= 24


def test_details_are_of_the_picture_and_never_wider_than_it(world):
    """A ratio of 1 leaves nothing to choose: both views are the same. Larger ones show a part of the whole."""
    for batch in batches(world, replace(PLAIN, ratio=1.0, large=0.0), 3, joint=True):
        np.testing.assert_array_equal(batch.views[:, 0], batch.views[:, 1])
    for batch in batches(world, replace(PLAIN, ratio=3.4, large=0.0), 3, joint=True):
        assert not np.array_equal(batch.views[:, 0], batch.views[:, 1])


def test_large_pictures_are_among_joint_draws_alone(world):
    config = replace(PLAIN, large=1.0)
    enlarged = defects.type_of("own", "enlarged")
    found = [of_series(batch, batch.types) for batch in batches(world, config, 8, joint=True)]
    kinds = np.concatenate(found)
    assert (kinds == kinds[:, :1]).all()
    assert set(kinds.ravel()) == {enlarged, -1}
    single = batches(world, config, 8)
    assert defects.CLEAN in np.concatenate([batch.types for batch in single])


def test_views_of_whole_and_detail_are_small_or_large_by_their_share(world):
    for share, shapes in ((1.0, framing.SMALL_JOINT), (0.0, framing.LARGE_JOINT)):
        for batch in batches(world, replace(PLAIN, small_joint=share), 3, joint=True):
            assert batch.views.shape[2:4] in shapes


def test_photographs_are_drawn_from_subsets_by_their_share(world):
    for share in (0.0, 1.0):
        config = replace(PLAIN, subsets={"s0": share, "s1": 1 - share})
        names = {name for batch in batches(world, config) for name in batch.subsets[: batch.photos]}
        assert names == {"s0" if share else "s1"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"subsets": {"s0": 0.5, "ss03": 0.5}}, "the training part has no pictures of subset ss03"),
        ({"clean_mos": 0.99}, "expected training pictures with an MOS of 0.99 or more, got none"),
    ],
)
def test_what_there_is_nothing_of_is_named(world, change, says):
    with pytest.raises(DataError, match=says):
        open_material(world, replace(PLAIN, **change))


def test_shares_that_are_none_are_refused():
    with pytest.raises(DataError, match="own: unknown kinds of series paint; known: enlarged, "):
        MaterialConfig(own={"paint": 1.0})
    with pytest.raises(DataError, match="subsets: expected shares whose sum is 1, got"):
        MaterialConfig(subsets={"ss01": 0.5})
