"""Bursts and near-duplicates: what shares a number, what does not, and how much memory that takes."""

import math
import tracemalloc

import numpy as np
import pytest
from helpers.mean import Mean
from helpers.photographs import photograph
from helpers.pictures import dated, grey

from qfm_metric import score_files
from qfm_metric.folder import groups
from qfm_metric.folder.groups import ALIKE, ALIKE_AT_ANY_TIME, WINDOW, group_rows
from qfm_metric.folder.row import Moment, Row

BETWEEN = (ALIKE + ALIKE_AT_ANY_TIME) / 2  # a likeness that is enough within the window alone


def at(likeness):
    """Degrees between two descriptors of this likeness, in radians."""
    return math.acos(likeness)


def row(angle, taken=None, score=0.5, name="a.jpg"):
    """A picture that shows an angle."""
    return Row(name, score, moment=Moment(taken, np.array([math.cos(angle), math.sin(angle)], "<f2").tobytes()))


def numbers(rows):
    return [row.extra.get("group") for row in group_rows(rows)]


def test_alike_pictures_within_the_window_share_a_number_and_the_best_is_first():
    rows = [row(0, 10, 0.3), row(1.5, 11, 0.9), row(at(BETWEEN), 12, 0.8), row(1.5, 10 + WINDOW, 0.9)]
    found = group_rows(rows)
    assert [row.extra for row in found] == [
        {"group": 1, "group_rank": 2},
        {"group": 2, "group_rank": 1},  # the first of those that are as good
        {"group": 1, "group_rank": 1},
        {"group": 2, "group_rank": 2},
    ]
    assert [(row.path, row.score) for row in found] == [(row.path, row.score) for row in rows]
    assert all(row.moment is None for row in found)


def test_time_alone_groups_nothing():
    assert numbers([row(0, 5), row(at(ALIKE - 0.02), 5)]) == [1, 2]


def test_alike_pictures_of_other_times_are_apart():
    assert numbers([row(0, 0), row(0, WINDOW + 1), row(0, 2 * WINDOW)]) == [1, 2, 2]


def test_without_times_pictures_have_to_be_more_alike():
    near, nearer = at(BETWEEN), at((1 + ALIKE_AT_ANY_TIME) / 2)
    assert numbers([row(0), row(near)]) == [1, 2]
    assert numbers([row(0), row(nearer)]) == [1, 1]
    assert numbers([row(0, 7), row(near)]) == [1, 2]
    assert numbers([row(nearer), row(0, 7)]) == [1, 1]  # a copy that lost its time, whatever the order


def test_a_copy_without_a_time_finds_its_original_among_those_that_lead_no_group():
    step = at(BETWEEN)
    assert numbers([row(0, 1), row(step, 2), row(2 * step, 900), row(step)]) == [1, 1, 2, 1]


def test_groups_do_not_grow_from_neighbour_to_neighbour():
    """Each is as like the one before as a group needs, and the third is not like the first."""
    step = at(BETWEEN)
    assert numbers([row(i * step, i) for i in range(4)]) == [1, 1, 2, 2]
    step = at((1 + 3 * ALIKE_AT_ANY_TIME) / 4)
    assert numbers([row(i * step) for i in range(4)]) == [1, 1, 2, 2]


def test_a_picture_joins_the_group_that_it_is_most_like():
    assert numbers([row(0, 1), row(1.3 * at(ALIKE), 2), row(0.8 * at(ALIKE), 3)]) == [1, 2, 2]


def test_errors_have_no_group_and_an_empty_folder_none():
    rows = [Row("b.jpg", error="no picture"), row(0), Row("c.jpg", error="no picture")]
    assert [row.extra for row in group_rows(rows)] == [{}, {"group": 1, "group_rank": 1}, {}]
    assert group_rows([]) == []
    assert group_rows(rows[:1]) == rows[:1]


def test_rows_are_grouped_as_they_come_from_an_iterator():
    rows = [Row("b.jpg", error="no picture"), row(0)]
    assert group_rows(iter(rows)) == group_rows(rows)
    assert group_rows(iter(rows[:1])) == rows[:1]


def test_other_columns_stay():
    found = group_rows([Row("a.jpg", 0.5, extra={"bits": 8}, moment=row(0).moment)])
    assert found[0].extra == {"bits": 8, "group": 1, "group_rank": 1}


def test_rows_without_moments_are_refused():
    with pytest.raises(ValueError, match="expected their moments; score them with"):
        group_rows([row(0), Row("a.jpg", 0.5)])


def one_by_one(angles, times):
    """The leaders by the definition: with a time in order of time, then those without in their order."""
    shown = np.array([[math.cos(a), math.sin(a)] for a in angles], "<f2").astype(np.float32)
    leaders = {}
    timed = sorted((i for i, time in enumerate(times) if time is not None), key=lambda i: times[i])
    for i in timed:
        near = [j for j in leaders if leaders[j] == j and times[i] - times[j] <= WINDOW]
        best = max(near, key=lambda j: (shown[i] @ shown[j], -near.index(j)), default=None)
        leaders[i] = best if best is not None and shown[i] @ shown[best] >= ALIKE else i
    for i in (i for i, time in enumerate(times) if time is None):
        near = [j for j in leaders if times[j] is not None or leaders[j] == j]
        best = max(near, key=lambda j: (shown[i] @ shown[j], -near.index(j)), default=None)
        leaders[i] = leaders[best] if best is not None and shown[i] @ shown[best] >= ALIKE_AT_ANY_TIME else i
    order = {}
    return [order.setdefault(leaders[i], len(order) + 1) for i in range(len(angles))]


@pytest.mark.parametrize(("block", "chunk"), [(512, 8192), (3, 5), (1, 1)])
def test_groups_are_those_of_the_definition_however_many_are_compared_at_a_time(monkeypatch, block, chunk):
    monkeypatch.setattr(groups, "BLOCK", block)
    monkeypatch.setattr(groups, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 120):
        angles = rng.uniform(0, 1.5, count).round(2)
        times = [None if rng.random() < 0.4 else float(rng.integers(0, 300)) for _ in range(count)]
        found = numbers([row(angle, time) for angle, time in zip(angles, times, strict=True)])
        assert found == one_by_one(angles, times)
    assert 1 < max(found) < 100  # some are together, some are not


@pytest.mark.parametrize("timed", [True, False])
def test_memory_does_not_grow_with_the_square_of_the_pictures(timed):
    """Of 6,000 pictures that are all apart, and of the same time, the likenesses would take 144 MB."""
    rng = np.random.default_rng(0)
    shown = rng.normal(size=(6000, 64))
    shown = (shown / np.linalg.norm(shown, axis=1, keepdims=True)).astype("<f2")
    rows = [Row("a.jpg", 0.5, moment=Moment(0.0 if timed else None, one.tobytes())) for one in shown]
    tracemalloc.start()
    try:
        found = group_rows(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len({row.extra["group"] for row in found}) == 6000
    assert peak < 60e6  # a block with a chunk twice, and the rows


@pytest.mark.parametrize("workers", [1, 2])
def test_files_are_scored_and_described_in_one_go(tmp_path, workers):
    """The angle between descriptors of `Mean` is 90 degrees times the difference of the levels."""
    paths = [
        dated(tmp_path / "0.jpg", "2024:05:01 12:00:00", level=100),
        dated(tmp_path / "1.jpg", "2024:05:01 12:00:01", level=110),
        dated(tmp_path / "2.jpg", "2024:05:01 12:00:02", level=250),
        grey(tmp_path / "3.png", 251),
    ]
    (tmp_path / "4.jpg").write_text("no picture")
    plain = list(score_files([*paths, tmp_path / "4.jpg"], Mean(), workers=workers))
    rows = list(score_files([*paths, tmp_path / "4.jpg"], Mean(), workers=workers, moments=True))
    assert [row.moment for row in plain] == [None] * 5
    assert [(row.score, row.error) for row in rows] == [(row.score, row.error) for row in plain]
    assert [row.extra.get("group") for row in group_rows(rows)] == [1, 1, 2, 2, None]


class Undescribed(Mean):
    """A metric that knows nothing of what pictures show."""

    def rate(self, views, maps=False, descriptors=False):
        return super().rate(views, maps)


def test_what_cannot_be_described_is_refused(tmp_path):
    path = grey(tmp_path / "a.png")
    with pytest.raises(ValueError, match="moments: expected a metric that describes what pictures show"):
        list(score_files([path], Undescribed(), moments=True))
    with pytest.raises(ValueError, match="moments: expected whole pictures, got tiles"):
        score_files([path], Mean(), moments=True, tile=64)


def test_crops_and_copies_of_a_photograph_are_together_and_other_photographs_are_not(tmp_path, metric):
    """With the default weights; a burst is a camera that moves by some pixels and lights that change a little."""
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    paths = []
    for i, name in enumerate(names):
        whole = photograph(name)
        for j, image in enumerate(
            [whole, whole.crop((9, 6, whole.width - 3, whole.height - 2)).point(lambda x: x * 0.95)]
        ):
            paths.append(tmp_path / f"{i}{j}.jpg")
            image.save(paths[-1], quality=90)
    rows = list(score_files(paths, metric, moments=True))
    assert {len(row.moment.descriptor) for row in rows} == {640}
    assert [row.extra["group"] for row in group_rows(rows)] == [1, 1, 2, 2, 3, 3, 4, 4]
