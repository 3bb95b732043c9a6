"""The head with a reference: series to pairs, a fit that lowers the loss, the commands."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net, open_material

from qfm_metric import QFMReference, QFMScore, WeightsError
from qfm_metric.reference_head import ReferenceHead
from qfm_metric.train import cli
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.defects import CLEAN, TYPES, type_of
from qfm_metric.train.material import LENGTH
from qfm_metric.train.material.stored import SINGLE, read_batch, store
from qfm_metric.train.reference import (
    CELLS,
    SCALES,
    Pairs,
    Trained,
    attach_head,
    fit_head,
    pairs_of,
    read_pairs,
    with_head,
)
from qfm_metric.train.severity import read_severity


def test_pairs_are_series_that_begin_clean_and_keep_what_people_said(world, pairs):
    known = {level.quality for level in read_severity(world / "severity.csv")}
    count = len(pairs.kept)
    assert pairs.cells.shape[:4] == (count, LENGTH, 2, CELLS)
    assert (pairs.types[:, 0] == CLEAN).all()
    assert ((pairs.kept >= 0) & (pairs.kept <= 1)).all()
    ladders = [i for i, type in enumerate(pairs.types[:, 1].tolist()) if TYPES[type][0] != "own"]
    assert len(ladders) > 4
    for value in pairs.kept[ladders, :2].flatten().tolist():  # the last of two composed distortions is a product
        assert min(abs(value - quality) for quality in known) < 2e-3  # targets are stored in single precision


def test_cells_are_those_that_inference_compares(world, cells):
    net, drawn = fresh_net(), open_material(world).draw((1, 0), 0, joint=True)
    with np.load(cells / "000000.npz") as file:
        kept = file["cells"]
    views = torch.from_numpy(drawn.views).permute(0, 1, 4, 2, 3) / 255
    with torch.inference_mode():
        seen = net.reference_cells(net.cells(net.pyramid((views - net.mean) / net.std)), len(views))
    found = net.reference_cells(torch.from_numpy(kept).float(), len(views))
    # Half precision; the spread that it is divided by is 1 here.
    torch.testing.assert_close(found, seen, atol=2e-2, rtol=2e-3)


def test_the_same_cells_of_all_versions_are_kept(world, cells):
    net = fresh_net()
    batch = read_batch(cells / "000000.npz")
    alike = replace(batch, types=np.full_like(batch.types, CLEAN), cells=np.zeros_like(batch.cells))
    # A cell's value is its place.
    alike.cells[:] = np.arange(batch.cells[0, 0].size, dtype=np.float16).reshape(batch.cells.shape[2:])
    found = pairs_of(net, alike, (0, 0)).cells
    assert torch.equal(found, found[:1, :1, :1].expand_as(found))
    assert len(found[0, 0, 0, :, 0].unique()) > 3


def test_a_batch_of_single_views_repeats_them(world, cells):
    net, batch = fresh_net(), read_batch(cells / f"{SINGLE - 1:06d}.npz")
    found = pairs_of(net, replace(batch, types=np.full_like(batch.types, CLEAN)), (0, 0))
    assert torch.equal(found.cells[:, :, 0], found.cells[:, :, 1])


def test_types_that_are_left_out_are_in_no_pair(pairs):
    assert len(pairs.without(range(len(TYPES))).kept) == 0
    without = [type_of("KADID-10k", 1), type_of("TID2013", 16)]
    fewer = pairs.without(without)
    assert 0 < len(fewer.kept) < len(pairs.kept)
    assert not {-1, *without} & set(fewer.types.flatten().tolist())  # what hides behind -1 may be one of them


def test_a_fit_lowers_the_loss_and_no_difference_still_costs_nothing(pairs):
    said = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = Trained(ReferenceHead(pairs.cells.shape[-1], 2))
    head = fit_head(pairs, steps=100, say=said.append)
    before, after = (each.loss(pairs).item() for each in (untrained, Trained(head)))
    assert after < 0.5 * before  # measured: 0.27 of it
    assert (head.differences >= 0).all()
    assert (head.prices >= 0).all()
    assert said[-1].startswith("step 100/100: loss 0.")
    clean = pairs.cells[:, 0].float()
    assert head(clean, clean).tolist() == [1.0] * len(clean)


def loss_of(types, kept, answers, first=None):
    """Of a head that gives these answers to series of these types, whose first version may be of another."""
    trained = Trained(ReferenceHead(4, 2))
    trained.head.forward = lambda versions, clean: torch.tensor(answers).flatten()
    places = torch.tensor([[CLEAN, *[type_of(*type)] * 3] for type in types])
    if first is not None:
        places[:, 1] = first
    cells = torch.zeros(len(types), LENGTH, 2, CELLS, 4)
    return trained.loss(Pairs(cells, torch.tensor(kept), places, torch.zeros(len(types)))).item()


@pytest.mark.parametrize(("other", "counts"), [("KADID-10k", True), ("TID2013", False)])
def test_order_counts_across_the_types_of_one_data_set(other, counts):
    """Answers are off by as much either way, and so are the gaps in a series: only the order differs."""
    kept = np.array([[0.8, 0.6, 0.4], [0.7, 0.5, 0.3]], np.float32)
    off = np.array([[0.08], [-0.08]], np.float32)
    right, wrong = (loss_of([("KADID-10k", 1), (other, 11)], kept, kept + error) for error in (off, -off))
    assert (wrong > right + 0.01) == counts
    assert counts or wrong == pytest.approx(right, rel=1e-5)  # float32


def test_series_count_as_much_as_their_scale_does():
    kept, answers = [[0.8, 0.6, 0.4]], [[0.7, 0.2, 0.6]]
    one, other = (loss_of([type], kept, answers) for type in (("KADID-10k", 1), ("TID2013", 1)))
    assert other / one == pytest.approx(SCALES["TID2013"] / SCALES["KADID-10k"])


def test_a_series_with_a_shifted_clean_picture_is_on_the_scale_of_its_other_versions():
    kept, answers = [[1.0, 0.6, 0.4]], [[0.9, 0.2, 0.6]]
    one, other = (loss_of([("TID2013", 1)], kept, answers, first=first) for first in (CLEAN, type_of("TID2013", 1)))
    assert one == other


def test_equal_seeds_fit_equal_heads(pairs):
    one, other, third = (fit_head(pairs, steps=5, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["prices"], third["prices"])


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", *map(str, args)])
    return cli.main()


def test_the_commands_write_weights_that_compare_and_measure_them(world, cells, weights, tmp_path, monkeypatch, capsys):
    out = tmp_path / "comparing.safetensors"
    given = ("--weights", weights, "--cells", cells, "--out", out, "--steps", 20)
    assert run(monkeypatch, "reference", *given) == 0
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    assert torch.equal(QFMScore.from_pretrained(out)(images), QFMScore.from_pretrained(weights)(images))
    assert QFMReference(out)(images, images.flip(3)).max() < 1
    capsys.readouterr()
    options = ("--data", world, "--weights", out, "--cells", cells, "--folds", 2, "--steps", 2, "--pictures", 1)
    assert run(monkeypatch, "reference-check", world / "severity.csv", *options, "--workers", 0) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["identical"] == 1
    aligned = {"kept", "left_out", "psnr", "ssim"}
    assert found["KADID-10k"].keys() == aligned | {"shifted", "shifted_psnr", "shifted_ssim", "pairs_right"}
    assert found["shift"]["1"]["kept"] < 1
    assert 0 <= found["swap"][0] <= found["swap"][1] < 1


def test_cells_without_series_are_refused(world, tmp_path):
    photographs = replace(open_material(world), series=None)
    store(fresh_net(), photographs, tmp_path, 1, seed=1, workers=1)
    with pytest.raises(DataError, match="expected cells of series with a clean picture, got none"):
        read_pairs(fresh_net(), tmp_path)


def test_a_head_replaces_another(pairs):
    net = with_head(fresh_net(), fit_head(pairs, steps=1))
    head = fit_head(pairs, steps=3, seed=5)
    assert torch.equal(with_head(net, head).reference.prices, head.prices)


def elsewhere(net, by):
    """A network whose backbone sees `by` of a deviation more than that of `net`, or less."""
    other = deepcopy(net)
    for tensor in other.backbone.parameters():
        tensor.data *= 1 + by
    return other


def test_cells_of_the_same_backbone_in_another_form_serve(cells, pairs, tmp_path):
    rounded = elsewhere(fresh_net(), 1e-5)
    with pytest.raises(DataError, match="cells of another backbone"):
        read_pairs(rounded, cells)
    write_weights(fresh_net(), tmp_path / "made-them.safetensors")
    found = read_pairs(rounded, cells, str(tmp_path / "made-them.safetensors"))
    assert torch.equal(found.cells, pairs.cells)


def test_cells_of_a_backbone_that_sees_something_else_are_refused(cells, tmp_path):
    write_weights(fresh_net(), tmp_path / "made-them.safetensors")
    with pytest.raises(
        WeightsError, match=r"expected one that makes the same cells of a picture, got ones that differ"
    ):
        read_pairs(elsewhere(fresh_net(), 0.3), cells, str(tmp_path / "made-them.safetensors"))
    shallow = fresh_net(replace(CONFIG, depths=(0, 1, 2)))
    with pytest.raises(WeightsError, match=r"got \(2, \d+, \d+, \d+\) in the place of"):
        read_pairs(shallow, cells, str(tmp_path / "made-them.safetensors"))


def test_a_head_is_taken_from_weights_on_the_same_backbone(pairs, weights, tmp_path, monkeypatch):
    source, out = tmp_path / "with.safetensors", tmp_path / "out.safetensors"
    net = with_head(fresh_net(), fit_head(pairs, steps=3))
    write_weights(net, source)
    assert run(monkeypatch, "reference", "--weights", weights, "--head", source, "--out", out) == 0
    found = QFMScore.from_pretrained(out).net
    torch.testing.assert_close(found.reference.prices, net.reference.prices, atol=0, rtol=1e-3)  # half precision
    with pytest.raises(WeightsError, match="expected weights that compare with a reference"):
        attach_head(str(source), str(weights), out)
    net.standardize.mean += 1
    write_weights(net, source)
    with pytest.raises(WeightsError, match="standardised by other statistics"):
        attach_head(str(weights), str(source), out)


def test_scales_are_those_of_the_types():
    assert {name for name, _ in TYPES} == set(SCALES)
    assert len(TYPES) == CLEAN
