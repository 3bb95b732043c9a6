"""Cells that were stored are those of the pictures that would be drawn, and train the head alone."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import LOOP, OBJECTIVE, fresh_net, open_material

from qfm_metric.defects import NAMES
from qfm_metric.train import loop
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.defects import CLEAN, TYPES, type_of
from qfm_metric.train.matching import Memory
from qfm_metric.train.material import LENGTH, Batch
from qfm_metric.train.material.stored import SINGLE, StoredMaterial, join, leave_out, store
from qfm_metric.train.step import Student, step_losses


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    store(fresh_net(), open_material(world), folder, SINGLE, seed=3, workers=1)
    return folder


@pytest.fixture
def stored(world, folder):
    material = open_material(world)
    return StoredMaterial.open(folder, fresh_net(), material.decoded, material.labels, joined=2)


def test_what_is_stored_gives_the_losses_of_what_is_drawn(world, folder):
    material, net = open_material(world), fresh_net()
    with np.load(folder / "000002.npz") as file:
        kept = {name: file[name] for name in file.files}
    drawn = material.draw((3, 2), 0, joint=True)
    held = replace(drawn, views=kept["views"], cells=kept["cells"])
    np.testing.assert_array_equal(kept["targets"], drawn.targets)
    student = Student(net, len(TYPES)).eval()
    found = [
        step_losses(student, batch, material.labels, OBJECTIVE, Memory(6), torch.Generator()) for batch in (drawn, held)
    ]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():  # half precision, and sums in another order
        torch.testing.assert_close(found[1][name], value, rtol=0.02, atol=2e-3, msg=name)


def test_some_batches_are_of_single_views(stored):
    views = {stored.draw((1, step)).views.shape[1] for step in range(30)}
    assert views == {1, 2}


def test_joined_batches_are_photographs_and_then_whole_series(stored):
    batch = stored.draw((0, 1))
    assert len(batch.cells) == batch.views.shape[1] * len(batch.targets)
    assert (len(batch.targets) - batch.photos) % LENGTH == 0
    assert (batch.subsets[: batch.photos] != "").all()
    assert (batch.subsets[batch.photos :] == "").all()


def test_joining_keeps_each_pictures_cells(world, folder, stored):
    batches = [stored.draw((0, step)) for step in range(2)]
    first, second = (batch for batch in batches)
    if first.cells.shape[2:] != second.cells.shape[2:]:
        second = first
    both = join([first, second])
    cells = both.cells.reshape(len(both.targets), -1, *both.cells.shape[1:])
    own = first.cells.reshape(len(first.targets), -1, *first.cells.shape[1:])
    np.testing.assert_array_equal(cells[: first.photos], own[: first.photos])
    series = len(first.targets) - first.photos
    start = both.photos
    np.testing.assert_array_equal(cells[start : start + series], own[first.photos :])
    np.testing.assert_array_equal(both.targets[start : start + series], first.targets[first.photos :])


def test_left_out_types_take_their_whole_series_along():
    """Two photographs; series of JPEG, of noise, of two together of which one may be JPEG, and of two others."""
    types = [-1, -1]
    defects = np.full((18, len(NAMES)), np.nan, np.float32)
    defects[2:] = 0
    for type, costs in (
        (type_of("KADID-10k", 10), ("compression",)),
        (type_of("KADID-10k", 11), ("noise",)),
        (-1, ("blur", "compression")),
        (-1, ("blur", "noise")),
    ):
        start = len(types)
        types += [CLEAN, type, type, type]
        defects[start + 1 : start + LENGTH, [NAMES.index(name) for name in costs]] = 0.4
    number = np.arange(18)
    batch = Batch(
        views=np.zeros((18, 2, 0, 8, 3), np.uint8),
        photos=2,
        targets=number.astype(np.float32),
        weights=np.ones(18, np.float32),
        sources=number,
        subsets=np.array(["a"] * 2 + [""] * 16),
        defects=defects,
        types=np.array(types),
        cells=np.repeat(number, 2).astype(np.float16)[:, None, None, None],
    )
    assert leave_out(batch, ()) is batch
    kept = leave_out(batch, ["KADID-10k/10"])
    assert kept.sources.tolist() == [0, 1, *range(6, 10), *range(14, 18)]
    assert kept.cells.flatten().tolist() == np.repeat(kept.sources, 2).tolist()
    for name in ("views", "weights", "subsets", "defects", "types"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(batch, name)[kept.sources])
    only_photographs = leave_out(batch, ["KADID-10k/10", "KADID-10k/11"])
    assert only_photographs.sources.tolist() == [0, 1]


def test_a_head_learns_without_the_types_that_are_left_out(world, folder):
    material, net = open_material(world), fresh_net()
    present = {TYPES[type] for step in range(20) for type in stored_types(folder, material, net, (), step)}
    gone = sorted(f"{data_set}/{type}" for data_set, type in present if data_set != "own")
    assert gone
    left = {TYPES[type] for step in range(20) for type in stored_types(folder, material, net, gone, step)}
    assert {data_set for data_set, _ in left} <= {"own"}


def stored_types(folder, material, net, without, step):
    batch = StoredMaterial.open(folder, net, material.decoded, material.labels, without=without, joined=2).draw(
        (0, step)
    )
    losses = step_losses(
        Student(net, len(TYPES)).eval(), batch, material.labels, OBJECTIVE, Memory(6), torch.Generator()
    )
    assert all(torch.isfinite(value) for value in losses.values())
    return {type for type in batch.types.tolist() if 0 <= type < CLEAN}


def test_equal_seeds_draw_equal_batches_and_ranks_share_a_shape(stored):
    for step in range(4):
        first, again, other = stored.draw((0, step)), stored.draw((0, step)), stored.draw((0, step), rank=1)
        np.testing.assert_array_equal(first.cells, again.cells)
        assert first.cells.shape[2:] == other.cells.shape[2:]


def test_a_head_learns_and_the_backbone_stays(world, stored, tmp_path):
    net = fresh_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    config = replace(LOOP, steps=3, every=3, backbone_rate=0.0, weight_decay=0.5)
    loop.train(net, stored, OBJECTIVE, config, tmp_path, lambda text: None)
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not [name for name in moved if name.startswith("backbone.")]
    assert {"project.weight", "means.weight", "defects.0.weight"} <= moved


def test_what_is_there_is_not_made_again(world, folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    store(fresh_net(), open_material(world), folder, 6, seed=3, workers=1)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")} == before


def test_cells_of_another_backbone_are_refused(world, folder, tmp_path):
    net, material = fresh_net(), open_material(world)
    with torch.no_grad():
        net.backbone.conv_stem.weight.mul_(2)
    with pytest.raises(DataError, match="cells of another backbone"):
        StoredMaterial.open(folder, net, material.decoded, material.labels)
    with pytest.raises(DataError, match="cells of another backbone or seed"):
        store(net, material, folder, 6, seed=3, workers=1)
    with pytest.raises(DataError, match=r"no cells; expected what `python -m qfm_metric\.train cells` writes"):
        StoredMaterial.open(tmp_path, net, material.decoded, material.labels)
    assert json.loads((folder / "about.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("name", "data"), [("000001.npz", b"PK\3\4"), ("000001.npz", b""), ("about.json", b"{"), ("about.json", b"\xff")]
)
def test_a_damaged_file_is_named(world, folder, tmp_path, name, data):
    copied, material, net = shutil.copytree(folder, tmp_path / "cells"), open_material(world), fresh_net()
    (copied / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: damaged .*; delete it, and call again what wrote it"):
        StoredMaterial.open(copied, net, material.decoded, material.labels)


def test_what_says_nothing_of_a_backbone_is_of_another(world, folder, tmp_path):
    copied, material = shutil.copytree(folder, tmp_path / "cells"), open_material(world)
    (copied / "about.json").write_text("[]")
    with pytest.raises(DataError, match="cells of another backbone"):
        StoredMaterial.open(copied, fresh_net(), material.decoded, material.labels)
