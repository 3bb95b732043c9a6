"""The loop on a few small pictures: cached early layers, learning, exact resume, export."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qfm_metric import QFMScore
from qfm_metric.model import QFMConfig, QFMNet
from qfm_metric.train import export, init, loop, material
from qfm_metric.train.data import Decoded, Row
from qfm_metric.train.prefix import cache_views, cut_block, freeze_prefix, run_prefix, run_rest

CONFIG = QFMConfig(view_pixels=64 * 64, dim=16, queries=2, heads=2)
SETTINGS = loop.LoopConfig(steps=4, batch=4, ladder_batch=1, warmup=1, every=2)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of summation, and so the last bits, depend on it
    yield
    torch.set_num_threads(threads)


def fresh_net():
    torch.manual_seed(0)
    return QFMNet(CONFIG).eval()


@pytest.fixture(scope="module")
def decoded():
    """Sixteen pictures of 512 px: the brighter, the better."""
    rng = np.random.default_rng(0)
    level = np.linspace(20, 220, 16)
    pixels = (level[:, None, None, None] + rng.integers(0, 30, (16, 512, 512, 3))).astype(np.uint8)
    rows = [Row("", float(v / 255), str(i), f"s{i % 2}", "val" if i % 4 > 1 else "train") for i, v in enumerate(level)]
    return Decoded(rows, pixels)


@pytest.fixture(scope="module")
def gathered(decoded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    return material.gather(fresh_net(), decoded, folder, ladders=4, seed=0, workers=1)


def test_prefix_and_rest_are_the_whole():
    net = fresh_net()
    views = net.preprocess(torch.rand(2, 3, 64, 96))
    with torch.no_grad():
        whole = net.cells(net.pyramid(views))
        cut = run_rest(net, *run_prefix(net, views.flatten(0, 1)))
    assert torch.equal(whole, cut)


def test_cached_views_are_the_prefix_in_half_precision(tmp_path):
    net = fresh_net()
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    cached = cache_views(net, pictures.__getitem__, 3, tmp_path / "views", workers=2)
    with torch.no_grad():
        cut, shallow = run_prefix(net, net.preprocess(pictures).flatten(0, 1))
    for stored, expected in zip(cached.batch([2, 0]), (cut, shallow), strict=True):
        # Half precision keeps 11 bits; channels-last convolutions sum in another order.
        torch.testing.assert_close(stored, expected[[2, 0]], rtol=2e-3, atol=1e-4)
    flipped = cached.batch([1], flip=True)[0]
    assert torch.equal(flipped, cached.batch([1])[0].flip(-1))
    again = cache_views(net, None, 3, tmp_path / "views")  # complete: opened, not computed
    assert np.array_equal(again.cut, cached.cut)


def test_nothing_cached_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match=r"qfm_metric\.train cache"):
        cache_views(fresh_net(), None, 3, tmp_path / "none", workers=0)


def test_freeze_prefix_stops_at_the_cut():
    net = fresh_net()
    freeze_prefix(net)
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    cut = cut_block(net)
    assert cut == 3
    assert all(n.startswith(("backbone.conv_stem", "backbone.bn1", "backbone.blocks.")) for n in frozen)
    assert {int(name.split(".")[2]) for name in frozen if ".blocks." in name} == set(range(cut))


def test_ladders_hold_the_clean_picture_and_falling_quality(gathered, decoded):
    assert len(gathered.ladder_mos) == len(gathered.ladders.cut) // material.RUNGS
    assert (gathered.ladder_mos >= material.CLEAN_MOS).all()
    assert set(gathered.ladder_mos) <= set(decoded.mos[decoded.select("train")])
    assert [len(labelled.mos) for labelled in gathered.labelled] == [8, 4, 4, 4]


def test_statistics_standardise_the_cells(gathered):
    net = fresh_net()
    views = gathered.labelled[0].views
    loop.measure_statistics(net, views)
    cells = run_rest(net, *views.batch(range(len(views.cut))))
    standardised = net.standardize(cells.flatten(2).transpose(1, 2)).flatten(0, 1)
    assert standardised.mean(dim=0).abs().max() < 1e-3
    # Channels that never vary keep the floor; the others have unit spread (unbiased against biased: 1e-3).
    varying = cells.std(dim=(0, 2, 3)) > 1e-2
    assert (standardised.std(dim=0)[varying] - 1).abs().max() < 0.02


def test_interrupted_and_resumed_equals_uninterrupted(gathered, decoded, tmp_path):
    def stop(text):
        if text.startswith("step 4: validation"):
            raise InterruptedError

    whole = fresh_net()
    loop.train(whole, gathered, decoded, SETTINGS, tmp_path, say=lambda text: None)
    parts = tmp_path / "parts"
    parts.mkdir()
    with pytest.raises(InterruptedError):
        loop.train(fresh_net(), gathered, decoded, SETTINGS, parts, say=stop)
    assert torch.load(parts / "checkpoint.pt", weights_only=True)["step"] == 2
    resumed = fresh_net()
    loop.train(resumed, gathered, decoded, SETTINGS, parts, say=lambda text: None)
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_it_learns(gathered, decoded, tmp_path):
    net = fresh_net()
    loop.measure_statistics(net, gathered.labelled[0].views)
    config = replace(SETTINGS, steps=30, every=30, batch=8, head_rate=3e-3)
    best = loop.train(net, gathered, decoded, config, tmp_path, say=lambda text: None)
    scores = loop.score_cached(best, gathered.validation)
    mos = decoded.mos[gathered.validation_indices]
    assert np.corrcoef(scores, mos)[0, 1] > 0.9


def test_calibration_and_export(gathered, decoded, tmp_path, random_images):
    net = fresh_net()
    scores = loop.score_cached(net, gathered.validation)
    mos = 1 / (1 + np.exp(-(3 * np.log(scores / (1 - scores)) - 0.5)))  # what slope 3 and offset -0.5 would score
    export.calibrate(net, scores, mos)
    assert net.calibration.slope.item() == pytest.approx(3, rel=1e-2)
    assert net.calibration.offset.item() == pytest.approx(-0.5, abs=1e-2)
    sha256 = export.export(net, tmp_path / "student.safetensors")
    metric = QFMScore.from_pretrained(tmp_path / "student.safetensors")
    assert metric.weights_sha256 == sha256
    # Stored in half precision: 11 bits of each weight.
    torch.testing.assert_close(metric(random_images), net(random_images).detach(), rtol=0, atol=5e-3)


def test_backbone_from_a_file(tmp_path):
    from safetensors.torch import save_file

    net = fresh_net()
    path = tmp_path / "imagenet.safetensors"
    state = {k: v + 1 for k, v in net.backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file({**state, "classifier.bias": torch.zeros(3)}, path)
    built = init.build(CONFIG, str(path))
    assert all(torch.equal(built.backbone.state_dict()[name], tensor) for name, tensor in state.items())
    del state["conv_stem.weight"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"conv_stem\.weight"):
        init.build(CONFIG, str(path))
    with pytest.raises(ValueError, match="no such file"):
        init.build(CONFIG, str(tmp_path / "none.safetensors"))
