"""The frozen layers: wherever the cut lies, they and the rest are the whole; what is stored is what was computed."""

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net

from qfm_metric.model import QFMConfig
from qfm_metric.train.frozen import FrozenLayers, cache_views, freeze, keep_statistics, run_rest

ALL = 5  # blocks of the small network


@pytest.fixture(scope="module")
def net():
    return fresh_net()


@pytest.mark.parametrize("frozen", [0, 1, 2, 3, 4, ALL])
def test_frozen_layers_and_rest_are_the_whole(net, frozen):
    views = net.preprocess(torch.rand(2, 3, 128, 192))
    assert views.shape == (2, 2, 3, 96, 128)  # the whole and its centre
    with torch.no_grad():
        whole = net.cells(net.pyramid(views))
        cut, cells = FrozenLayers(net, frozen)(views.flatten(0, 1))
        joined = run_rest(net, frozen, cut, cells)
    assert torch.equal(whole, joined)
    assert cut.shape[1] == {0: 3, ALL: 0}.get(frozen, cut.shape[1])  # the views themselves; nothing left to run
    assert cells.shape[1] == {0: 0, ALL: whole.shape[1]}.get(frozen, cells.shape[1])


def test_every_block_of_the_default_backbone_can_be_the_last_frozen_one():
    net = fresh_net(QFMConfig(view_pixels=64 * 64, dim=16, queries=2, heads=2))
    views = net.preprocess(torch.rand(1, 3, 64, 64))[0]
    with torch.no_grad():
        whole = net.cells(net.backbone(views))
        for frozen in range(len(net.backbone.blocks) + 1):
            assert torch.equal(run_rest(net, frozen, *FrozenLayers(net, frozen)(views)), whole)


def test_any_backbone_can_be_trained_from_the_views():
    net = fresh_net(QFMConfig(backbone="mobilenetv3_small_050", view_pixels=64 * 64, dim=16, queries=2, heads=2))
    views = net.preprocess(torch.rand(1, 3, 64, 64))[0]
    with torch.no_grad():
        assert torch.equal(run_rest(net, 0, *FrozenLayers(net, 0)(views)), net.cells(net.backbone(views)))


def test_with_nothing_frozen_views_are_made_when_drawn(net, tmp_path):
    pictures = torch.rand(3, 3, 128, 192)
    drawn = cache_views(net, 0, pictures.__getitem__, 3, tmp_path / "views")
    assert (len(drawn), drawn.views) == (3, 2)
    views, cells = drawn.batch([2, 0])
    assert torch.equal(views, net.preprocess(pictures)[[2, 0]].flatten(0, 1))
    assert cells.shape == (4, 0, 1, 1)
    assert torch.equal(drawn.batch([1], flip=True)[0], drawn.batch([1])[0].flip(-1))
    assert not (tmp_path / "views").exists()


@pytest.mark.parametrize("frozen", [3, ALL])
def test_cached_views_are_the_frozen_layers_in_half_precision(net, frozen, tmp_path):
    pictures = torch.rand(3, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    cached = cache_views(net, frozen, pictures.__getitem__, 3, tmp_path / "views", workers=2)
    assert (len(cached), cached.views) == (3, 2)
    with torch.no_grad():
        found = FrozenLayers(net, frozen)(net.preprocess(pictures).flatten(0, 1))
    for stored, expected in zip(cached.batch([2, 0]), found, strict=True):
        # Half precision keeps 11 bits; channels-last convolutions sum in another order.
        torch.testing.assert_close(stored, expected[[4, 5, 0, 1]], rtol=2e-3, atol=1e-3)
    for flipped, stored in zip(cached.batch([1], flip=True), cached.batch([1]), strict=True):
        assert torch.equal(flipped, stored.flip(-1))
    again = cache_views(net, frozen, None, 3, tmp_path / "views", workers=0)  # complete: opened, not computed
    assert np.array_equal(again.cut, cached.cut)
    assert np.array_equal(again.cells, cached.cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of torch.export and OpenVINO's converter, about themselves
def test_openvino_stores_the_same_within_half_precision(net, tmp_path):
    pictures = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    plain, fast = (
        cache_views(net, 3, pictures.__getitem__, 2, tmp_path / name, workers=1, openvino=name == "openvino")
        for name in ("torch", "openvino")
    )
    for expected, stored in zip(plain.batch([0, 1]), fast.batch([0, 1]), strict=True):
        torch.testing.assert_close(stored, expected, rtol=4e-3, atol=2e-3)  # two roundings to 11 bits


def test_what_was_interrupted_is_computed_again(net, tmp_path):
    with pytest.raises(ZeroDivisionError):
        cache_views(net, 1, lambda i: torch.rand(3, 64, 64) / (1 // (1 - i)), 2, tmp_path / "views", workers=1)
    with pytest.raises(ValueError, match=r"views: nothing cached there; run `python -m qfm_metric\.train cache`"):
        cache_views(net, 1, None, 2, tmp_path / "views", workers=0)
    cached = cache_views(net, 1, lambda i: torch.full((3, 64, 64), i / 2), 2, tmp_path / "views", workers=1)
    assert not torch.equal(*(cached.batch([i])[0] for i in (0, 1)))


@pytest.mark.parametrize("frozen", [0, 1, 3, ALL])
def test_freezing_stops_at_the_cut(frozen):
    net = fresh_net()
    freeze(net, frozen)
    fixed = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert all(n.startswith(("backbone.conv_stem", "backbone.bn1", "backbone.blocks.")) for n in fixed)
    assert {int(name.split(".")[2]) for name in fixed if ".blocks." in name} == set(range(frozen))
    assert any("conv_stem" in name for name in fixed) == bool(frozen)


def test_training_leaves_batch_statistics_alone():
    net = fresh_net(CONFIG)
    keep_statistics(net.train())
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert net.decoder.mlp.training  # dropout stays on


def test_drawn_cells_are_the_same_places_of_every_view(net, tmp_path):
    cached = cache_views(net, ALL, lambda i: torch.rand(3, 128, 192), 3, tmp_path / "views", workers=1)
    whole = cached.batch([2, 0])[1].flatten(2)
    cut, few = cached.sample([2, 0], 5, np.random.default_rng(0))
    assert (few.shape, cut.shape) == ((4, whole.shape[1], 5, 1), (4, 0, 5, 1))
    places = [int((cell == whole[0].T).all(dim=1).nonzero()) for cell in few[0, :, :, 0].T]
    assert len(set(places)) == 5
    assert torch.equal(few[..., 0], whole[..., places])
    again, other = (cached.sample([2, 0], 5, np.random.default_rng(seed))[1] for seed in (0, 1))
    assert torch.equal(few, again)
    assert not torch.equal(few, other)
    assert cached.sample([1], 1000, np.random.default_rng(0))[1].shape[2] == whole.shape[2]  # all there are


@pytest.mark.parametrize("frozen", [0, 3])
def test_cells_cannot_be_drawn_before_a_backbone(net, tmp_path, frozen):
    views = cache_views(net, frozen, lambda i: torch.rand(3, 64, 64), 1, tmp_path / "views", workers=1)
    with pytest.raises(ValueError, match=r"objective\.cells: expected 0; only a recipe that freezes every block"):
        views.sample([0], 2, np.random.default_rng(0))
