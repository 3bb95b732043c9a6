"""A step's losses with closed-form answers: the network is replaced by a mean, and cached cells say what it scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, FROZEN, fresh_net
from torch import nn

from qfm_metric.train import losses, matching, severity
from qfm_metric.train.frozen import CachedViews, FrozenLayers
from qfm_metric.train.matching import Memory
from qfm_metric.train.material import Material, Pool
from qfm_metric.train.step import (
    CachedForward,
    Labels,
    Objective,
    Outputs,
    one_step_attack,
    predict_cached,
    step_losses,
)

N = 12
MOS = np.linspace(0.125, 0.875, N, dtype=np.float32)
ALL_TERMS = dict.fromkeys(Objective().weights, 1.0)


class Mean(nn.Module):
    """In place of `CachedForward`: the score is the mean token; the first cell's channels describe the content."""

    def forward(self, batches, views, noise=None, attack=0.0):
        tokens = [cells.flatten(2).transpose(1, 2) for _, cells in batches]
        semantics = nn.functional.normalize(tokens[0][:, 0] + torch.eye(len(tokens[0]), tokens[0].shape[-1]), dim=1)
        noisy = noise(tokens[0], semantics) if noise else None
        scores = [t.mean(dim=(1, 2)) for t in tokens]
        noisy = None if noisy is None else noisy.mean(dim=(1, 2))
        stds = [torch.full_like(s, 0.1) for s in scores]
        return Outputs(scores, stds, tokens[0], semantics, noisy, scores[0] + attack if attack else None)


def pool(scores, source, quality, rungs=1, share=1.0):
    """Pictures of 2 x 2 cells that all hold the picture's score."""
    cells = np.broadcast_to(np.asarray(scores, np.float16)[:, None, None, None], (len(scores), 3, 2, 2))
    views = CachedViews(np.zeros((len(scores), 0, 2, 2), np.float16), cells, 1)
    starts = np.arange(0, len(scores), rungs)
    kept = np.asarray(quality, np.float32)
    return Pool(views, np.asarray(source), kept, starts, rungs, share, np.array([""] * len(starts)))


def perfect():
    """Every photograph scores its MOS, and every version of it what people say that it keeps."""
    source, quality = np.repeat(np.arange(N), 4), np.tile([1, 0.75, 0.5, 0.25], N)
    series = pool(severity.target(MOS[source], quality), source, quality, rungs=4)
    return Material([pool(MOS, np.arange(N), np.ones(N))], [series], series.views, np.arange(N))


def labels(teacher=MOS):
    return Labels(MOS, np.asarray(teacher, np.float32), np.zeros(N, np.float32))


def steps(config, count=2, material=None, known=None, memory=None, rank=0):
    """Terms of the last of `count` steps."""
    memory = Memory(config.memory) if memory is None else memory
    for step in range(count):
        terms = step_losses(Mean(), material or perfect(), known or labels(), config, memory, (0, step), rank)
    return terms


# Cells are stored in half precision, whose steps are 0.0005 just below 1; the losses are quadratic near 0.
CLOSE = {"abs": 1e-5}


def test_a_perfect_network_loses_nothing_but_to_noise():
    terms = steps(Objective(batch=6, series=3, strength=0.5, tolerance=1.0, weights=ALL_TERMS))
    for name in ("regression", "correlation", "distillation", "rank_distillation", "severity", "difference"):
        assert terms[name].item() == pytest.approx(0, **CLOSE), name
    assert terms["perturbed"] > 0.01
    assert terms["consistency"] > 0.01


def test_noise_of_half_the_strength_raises_the_mean_token_by_half():
    """All tokens are positive and constant, so a partner of the same root mean square is the picture itself."""
    memory = Memory(64)
    memory.push(torch.ones(8, 4, 3), torch.eye(3)[:1].expand(8, 3), torch.full((8,), 0.5), torch.arange(100, 108))
    config = Objective(batch=6, series=0, strength=0.5, weights=ALL_TERMS)
    terms = steps(config, count=1, memory=memory)
    mos = memory.fifos[4].scores[8:]
    assert len(mos) == 6
    assert terms["consistency"].item() == pytest.approx(0.5 * mos.mean().item(), abs=1e-3)
    assert terms["perturbed"].item() == pytest.approx(losses.regression(1.5 * mos, mos).item(), abs=1e-3)


def test_without_partners_there_is_no_noise():
    config = Objective(batch=4, series=0, weights=ALL_TERMS)
    assert not {"perturbed", "consistency"} & set(steps(config, count=1))  # the memory is empty
    assert {"perturbed", "consistency"} <= set(steps(config, count=2))


@pytest.mark.parametrize("rule", ["none", "random", "matched", "v1"])
def test_each_control_is_one_setting(rule, monkeypatch):
    asked = []

    def spied(semantics, scores, ids, memory_semantics, memory_scores, memory_ids, *rest):
        rows = matching.match(semantics, scores, ids, memory_semantics, memory_scores, memory_ids, *rest)
        asked.append(rest[0])
        assert (memory_ids[rows] != ids).all()  # never the picture itself
        return rows

    monkeypatch.setattr("qfm_metric.train.step.match", spied)
    memory = Memory(8)
    terms = steps(Objective(batch=6, series=1, noise=rule, memory=8), count=6, memory=memory)
    assert set(asked) == ({rule} - {"none"})
    assert len(memory) == (0 if rule == "none" else 8)
    assert ("perturbed" in terms) == ("consistency" in terms) == (rule != "none")
    assert all(torch.isfinite(value) for value in terms.values())


def test_a_picture_that_is_alone_gets_no_noise():
    """Twelve samples of one picture: whatever is in the memory is the picture itself."""
    alone = Material([pool(MOS, np.zeros(N, int), np.ones(N))], [], perfect().validation, np.arange(N))
    terms = steps(Objective(batch=6, series=0, weights=ALL_TERMS), count=3, material=alone)
    assert terms["consistency"] == 0


def test_the_memory_holds_labels_and_sources():
    memory = Memory(64)
    steps(Objective(batch=6, series=2), count=3, memory=memory)
    held = memory.fifos[4]
    assert len(memory) == 18
    assert torch.equal(held.scores, torch.from_numpy(MOS)[held.ids])
    torch.testing.assert_close(held.tokens.mean(dim=(1, 2)), held.scores, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", list(ALL_TERMS))
def test_a_weight_of_zero_switches_a_term_off(name):
    config = Objective(batch=6, series=2, attack=0.01, weights=ALL_TERMS)
    assert set(steps(config)) == set(ALL_TERMS)
    off = steps(replace(config, weights=ALL_TERMS | {name: 0.0}))
    assert set(off) == set(ALL_TERMS) - {name}


def test_no_series_no_series_terms():
    config = Objective(batch=6, series=0, weights=ALL_TERMS)
    assert not {"severity", "difference"} & set(steps(config))
    without = replace(perfect(), series=[])
    assert not {"severity", "difference"} & set(steps(replace(config, series=2), material=without))


def test_distillation_looks_at_the_teacher_alone():
    offset = steps(Objective(batch=6, series=0, weights=ALL_TERMS), known=labels(teacher=MOS + 0.3))
    assert offset["regression"].item() == pytest.approx(0, **CLOSE)
    assert offset["distillation"].item() == pytest.approx(0.3 - 0.05, abs=1e-3)  # smooth L1 beyond its knee of 0.1
    assert offset["rank_distillation"].item() == pytest.approx(0, **CLOSE)  # the order is the same


def test_series_fall_from_the_mean_of_mos_and_teacher():
    """A teacher 0.2 above the MOS puts clean pictures 0.1 higher: so much is missing, times the quality kept."""
    quality = np.array([1, 0.75, 0.5, 0.25])
    terms = steps(Objective(batch=6, series=2, weights=ALL_TERMS), known=labels(teacher=MOS + 0.2))
    missing = torch.tensor(0.1 * quality)
    assert terms["severity"].item() == pytest.approx(missing.square().mean().item(), abs=1e-3)
    expected = losses.difference(missing[None], 0 * missing[None])
    assert terms["difference"].item() == pytest.approx(expected.item(), abs=1e-3)


def test_pictures_of_nothing_belong_at_the_floor():
    nothing = pool(np.full(8, severity.FLOOR), np.full(8, -1), np.zeros(8), rungs=4)
    terms = steps(Objective(batch=6, series=2, weights=ALL_TERMS), material=replace(perfect(), series=[nothing]))
    assert terms["severity"].item() == pytest.approx(0, **CLOSE)


def test_a_step_sees_as_many_cells_as_it_asks_for():
    seen = []

    class Watched(Mean):
        def forward(self, batches, *rest):
            seen.extend(cells.shape[2:].numel() for _, cells in batches)
            return super().forward(batches, *rest)

    for cells in (0, 3):
        step_losses(Watched(), perfect(), labels(), Objective(cells=cells), Memory(8), (0, 0))
    assert seen == [4, 4, 3, 3]


def test_ranks_draw_other_pictures_from_the_same_pools():
    shapes = {}
    pools = [replace(perfect().photos[0], share=share) for share in (0.5, 0.5)]
    material = replace(perfect(), photos=pools)
    for step in range(8):
        drawn = []
        for rank in range(2):
            memory = Memory(64)
            step_losses(Mean(), material, labels(), Objective(batch=6, series=0), memory, (0, step), rank)
            drawn.append(memory.fifos[4].ids.tolist())
        assert drawn[0] != drawn[1]
        shapes[step] = drawn
    again = Memory(64)
    step_losses(Mean(), material, labels(), Objective(batch=6, series=0), again, (0, 3), 1)
    assert again.fifos[4].ids.tolist() == shapes[3][1]


def cached(net, images):
    """Cached views of images, but in full precision."""
    with torch.no_grad():
        views = net.preprocess(images)
        return FrozenLayers(net, FROZEN)(views.flatten(0, 1)), views.shape[1]


@pytest.fixture(scope="module")
def net():
    return fresh_net()


def test_cached_scores_are_the_networks_own(net):
    images = torch.rand(6, 3, 96, 128)  # more than pass the backbone at a time
    batch, views = cached(net, images)
    with torch.no_grad():
        out = CachedForward(net, FROZEN)([batch], views)
        # Another number of pictures at a time sums in another order.
        torch.testing.assert_close(out.scores[0], net(images), rtol=0, atol=1e-5)
    assert (out.noisy, out.attacked, out.stds) == (None, None, [])
    assert out.tokens.shape == (6, views * 6 * 8, 16)  # a token per 16 x 16 px
    torch.testing.assert_close(out.semantics.norm(dim=1), torch.ones(6))
    stored = CachedViews(*(part.numpy() for part in batch), views)
    scores, stds = predict_cached(net, FROZEN, stored)
    np.testing.assert_allclose(scores, out.scores[0].numpy(), rtol=0, atol=1e-5)
    assert np.isnan(stds).all()


def test_batches_of_several_shapes_go_together(net):
    (wide, views), (tall, _) = (cached(net, torch.rand(2, 3, *size)) for size in ((96, 128), (128, 96)))
    forward = CachedForward(net, FROZEN)
    with torch.no_grad():
        both, alone = forward([wide, tall], views), forward([tall], views)
    assert torch.equal(both.scores[1], alone.scores[0])


def test_noise_enters_at_the_seam(net):
    batch, views = cached(net, torch.rand(2, 3, 96, 128))
    forward = CachedForward(net, FROZEN)
    with torch.no_grad():
        out = forward([batch], views, lambda tokens, semantics: tokens + 1)
        plain = net.embed(net.cells(net.backbone(net.preprocess(torch.rand(2, 3, 96, 128)).flatten(0, 1))), 2)
        assert out.tokens.shape == plain.shape
        assert torch.equal(out.noisy, forward.score(out.tokens + 1))
        assert torch.equal(out.scores[0], forward.score(out.tokens))


def test_an_attack_moves_each_score_its_way_within_its_size(net):
    images = torch.rand(4, 3, 96, 128)
    images[0] = 0  # black: cannot be moved down
    views = net.preprocess(images).flatten(0, 1)

    def score(views):
        return net.score_views(views.unflatten(0, (4, 2)))

    def drawn():  # what decides an attack: the start within the ball, and the ways
        torch.manual_seed(4)
        return 2 * torch.rand_like(views) - 1, torch.randint(0, 2, (4,)) * 2 - 1

    start, ways = drawn()
    assert set(ways.tolist()) == {-1, 1}
    torch.manual_seed(4)
    moved = one_step_attack(net, score, views, 1 / 255)
    pixels, before = (v * net.std + net.mean for v in (moved, views))
    assert (pixels - before).abs().max() <= 1 / 255 + 1e-6
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert not torch.equal(moved, one_step_attack(net, score, views, 1 / 255))  # another start
    with torch.no_grad():
        assert torch.equal((score(moved) - score(views)).sign(), ways.float())
        # The gradient is worth more than the random start alone.
        assert ((score(moved) - score(views + start / 255 / net.std)) * ways).min() > 0


def test_the_attacked_score_is_of_the_attacked_views(net):
    views = net.preprocess(torch.rand(3, 3, 96, 128)).flatten(0, 1)
    batch = (views, views.new_zeros(len(views), 0, 1, 1))
    forward = CachedForward(net, 0)
    torch.manual_seed(0)
    out = forward([batch], 2, attack=2 / 255)
    torch.manual_seed(0)
    moved = one_step_attack(net, lambda views: net.score_views(views.unflatten(0, (3, 2))), views, 2 / 255)
    torch.testing.assert_close(out.attacked, net.score_views(moved.unflatten(0, (3, 2))))
    terms = losses.consistency(out.attacked, out.scores[0])
    (gradient,) = torch.autograd.grad(terms, [net.backbone.conv_stem.weight])
    assert gradient.abs().max() > 0


def test_uncertainty_learns_without_moving_the_score():
    net = fresh_net(replace(CONFIG, uncertainty=True))
    views = net.preprocess(torch.rand(3, 3, 96, 128)).flatten(0, 1)
    out = CachedForward(net, 0)([(views, views.new_zeros(len(views), 0, 1, 1))], 2)
    loss = losses.uncertainty(out.scores[0], torch.rand(3), torch.zeros(3), out.stds[0])
    loss.backward()
    moved = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in net.named_parameters() if name.startswith("uncertainty.")}
