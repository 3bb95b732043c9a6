"""A step's losses with closed-form answers: the network is replaced by a mean, and grey views say what it scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, OBJECTIVE, fresh_net, open_material
from torch import nn

from qfm_metric.defects import NAMES
from qfm_metric.train import losses, matching, severity
from qfm_metric.train.defects import CLEAN
from qfm_metric.train.matching import Memory
from qfm_metric.train.material import LENGTH, Batch
from qfm_metric.train.pseudo_labels import Labels
from qfm_metric.train.step import Objective, Outputs, Student, one_step_attack, step_losses

N = 12
MOS = np.linspace(0.125, 0.875, N, dtype=np.float32)
ALL_TERMS = dict.fromkeys(Objective().weights, 1.0)
KEPT = np.array([1, 0.75, 0.5, 0.25], np.float32)


class Mean(nn.Module):
    """In place of `Student`: a picture's score is the mean of its views, whose tokens are all alike."""

    def __init__(self):
        super().__init__()
        self.net = fresh_net()
        self.net.mean.fill_(0)
        self.net.std.fill_(1)
        self.device = torch.device("cpu")

    def forward(self, views, photos, noise=None, attack=0.0):
        scores = views.mean(dim=(1, 2, 3, 4))
        tokens = scores[:photos, None, None].expand(-1, 4, 3)
        semantics = nn.functional.normalize(tokens[:, 0] + torch.eye(photos, 3), dim=1)
        noisy = noise(tokens, semantics) if noise else None
        noisy = None if noisy is None else noisy.mean(dim=(1, 2))
        readers = torch.stack([scores, scores], dim=1)
        certain = torch.zeros(len(scores), len(NAMES), 2)
        moved = scores[:photos] + attack if attack else None
        return Outputs(
            scores,
            readers,
            torch.full_like(scores, 0.1),
            certain,
            torch.zeros(len(scores), CLEAN + 1),
            tokens,
            semantics,
            noisy,
            moved,
        )


def batch(sources=range(6), series=(), teacher=MOS, scale=1.0):
    """Photographs that score their MOS times `scale`, and series whose pictures score what they should."""
    sources, series = np.array(sources), np.array(series, int)
    clean = np.where(series < 0, severity.FLOOR, (MOS + teacher)[series] / 2)
    kept = severity.target(np.repeat(clean, LENGTH), np.tile(KEPT, len(series)))
    targets = np.concatenate([MOS[sources], kept]).astype(np.float32)
    grey = np.rint(targets * scale * 255).astype(np.uint8)
    photos, count = len(sources), len(targets)
    costs = np.zeros((count, len(NAMES)), np.float32)
    costs[:photos] = np.nan
    return Batch(
        views=np.broadcast_to(grey[:, None, None, None, None], (count, 1, 8, 8, 3)).copy(),
        photos=photos,
        targets=targets,
        weights=np.ones(count, np.float32),
        sources=np.concatenate([sources, np.repeat(series, LENGTH)]).astype(np.int64),
        subsets=np.array([f"s{i % 2}" for i in sources] + [""] * (count - photos)),
        defects=costs,
        types=np.array([-1] * photos + [CLEAN] * (count - photos), np.int64),
    )


def labels(teacher=MOS):
    return Labels(MOS, np.asarray(teacher, np.float32), np.zeros(N, np.float32))


def steps(config, *batches, known=None, memory=None):
    """Terms of the last of some batches."""
    memory = Memory(config.memory) if memory is None else memory
    for number, drawn in enumerate(batches):
        generator = torch.Generator().manual_seed(number)
        terms = step_losses(Mean(), drawn, known or labels(), config, memory, generator)
    return terms


# Views hold scores in steps of 1/255; the losses are quadratic near 0.
CLOSE = {"abs": 1e-4}


def test_a_perfect_network_loses_nothing_but_to_noise():
    config = Objective(strength=0.5, tolerance=1.0, weights=ALL_TERMS)
    terms = steps(config, batch(range(6)), batch(range(6, 12), series=[0, 7, 3]))
    for name in ("regression", "distillation", "severity", "difference"):
        assert terms[name].item() == pytest.approx(0, **CLOSE), name
    assert terms["ranking"].item() == pytest.approx(0, abs=2e-3)  # steps of 1/255 are .08 of its scale
    assert terms["perturbed"] > 0.01
    assert terms["consistency"] > 0.01


def test_noise_of_half_the_strength_raises_the_mean_token_by_half():
    """All tokens are positive and constant, so a partner of the same root mean square is the picture itself."""
    memory = Memory(64)
    memory.push(torch.ones(8, 4, 3), torch.eye(3)[:1].expand(8, 3), torch.full((8,), 0.5), torch.arange(100, 108))
    terms = steps(Objective(strength=0.5, weights=ALL_TERMS), batch(range(6)), memory=memory)
    mos = memory.fifos[4].scores[8:]
    assert len(mos) == 6
    assert terms["consistency"].item() == pytest.approx(0.5 * mos.mean().item(), abs=2e-3)
    assert terms["perturbed"].item() == pytest.approx(losses.regression(1.5 * mos, mos).item(), abs=2e-3)


def test_without_partners_there_is_no_noise():
    config = Objective(weights=ALL_TERMS)
    assert not {"perturbed", "consistency"} & set(steps(config, batch()))  # the memory is empty
    assert {"perturbed", "consistency"} <= set(steps(config, batch(), batch()))


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
    drawn = [batch(np.arange(i, i + 6) % N, series=[i]) for i in range(6)]
    terms = steps(Objective(noise=rule, memory=8), *drawn, memory=memory)
    assert set(asked) == ({rule} - {"none"})
    assert len(memory) == (0 if rule == "none" else 8)
    assert ("perturbed" in terms) == ("consistency" in terms) == (rule != "none")
    assert all(torch.isfinite(value) for value in terms.values())


def test_a_picture_that_is_alone_gets_no_noise():
    """Whatever is in the memory is the picture itself."""
    terms = steps(Objective(weights=ALL_TERMS), batch([3] * 6), batch([3] * 6))
    assert terms["consistency"] == 0


def test_the_memory_holds_labels_and_sources():
    memory = Memory(64)
    steps(Objective(), batch(range(6), series=[0, 1]), batch(range(4, 10), series=[2]), memory=memory)
    held = memory.fifos[4]
    assert len(memory) == 12
    assert torch.equal(held.scores, torch.from_numpy(MOS)[held.ids])
    torch.testing.assert_close(held.tokens.mean(dim=(1, 2)), held.scores, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", list(ALL_TERMS))
def test_a_weight_of_zero_switches_a_term_off(name):
    config = Objective(attack=0.01, weights=ALL_TERMS)
    drawn = [batch(series=[0, 1]), batch(series=[2])]
    assert set(steps(config, *drawn)) == set(ALL_TERMS)
    off = steps(replace(config, weights=ALL_TERMS | {name: 0.0}), *drawn)
    assert set(off) == set(ALL_TERMS) - {name}


def test_no_series_no_series_terms():
    terms = steps(Objective(weights=ALL_TERMS), batch())
    assert not {"severity", "difference", "defects", "types"} & set(terms)


def test_distillation_looks_at_the_teacher_alone():
    offset = steps(Objective(second_reader=0.0, weights=ALL_TERMS), batch(), known=labels(teacher=MOS + 0.3))
    assert offset["regression"].item() == pytest.approx(0, **CLOSE)
    assert offset["distillation"].item() == pytest.approx(0.3 - 0.05, abs=2e-3)  # smooth L1 beyond its knee of 0.1


def test_each_reader_is_compared_on_its_own():
    one, both = (
        steps(Objective(second_reader=share, weights=ALL_TERMS), batch(series=[1], scale=0.5)) for share in (0.0, 0.5)
    )
    for name in ("regression", "distillation", "ranking", "severity", "difference"):
        assert both[name].item() == pytest.approx(1.5 * one[name].item(), rel=1e-5), name


def test_ranking_compares_within_a_source_alone():
    """Scores of one source are all raised: pairs across would mind."""
    drawn = batch()
    views = drawn.views.copy()
    views[drawn.subsets == "s0"] += 40
    terms = steps(Objective(weights=ALL_TERMS), replace(drawn, views=views))
    assert terms["ranking"].item() == pytest.approx(0, abs=2e-3)
    assert terms["regression"] > 0.01


def test_a_photograph_of_which_little_is_seen_counts_less():
    drawn = batch()
    views, weights = drawn.views.copy(), np.array([0.1, 1, 1, 1, 1, 1], np.float32)
    views[0] += 60
    config = Objective(weights=ALL_TERMS)
    alike, less = (
        steps(config, replace(drawn, views=views, weights=w))["regression"] for w in (drawn.weights, weights)
    )
    assert less.item() == pytest.approx(alike.item() * 0.1 * 6 / 5.1, rel=1e-2)  # steps of 1/255


def test_defects_are_learned_where_they_are_known():
    drawn = batch(series=[0])
    costs = drawn.defects.copy()
    costs[-1, NAMES.index("noise")] = 0.5
    found = steps(Objective(weights=ALL_TERMS), replace(drawn, defects=costs))["defects"]
    plain = steps(Objective(weights=ALL_TERMS), drawn)["defects"]
    # One picture of four costs .5 squared; a tenth of that is the deviation's share.
    assert (found - plain).item() == pytest.approx(1.1 * 0.25 / 4, rel=1e-3)


@pytest.fixture(scope="module")
def net():
    return fresh_net()


def views_of(net, count=3):
    return net.preprocess(torch.rand(count, 3, 96, 160, generator=torch.Generator().manual_seed(1)))


def test_scores_are_the_networks_own(net):
    views = views_of(net, count=6)  # more than pass the backbone at a time
    with torch.no_grad():
        out = Student(net, CLEAN).eval()(views, photos=4)
        judged = net.judge_views(views)
        # Another number of pictures at a time sums in another order.
        torch.testing.assert_close(out.scores, judged.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.logit(out.readers).mean(dim=1), torch.logit(judged.scores), rtol=0, atol=1e-4)
        torch.testing.assert_close(out.stds, judged.stds, rtol=0, atol=1e-5)
        torch.testing.assert_close(out.defects, judged.defects, rtol=0, atol=1e-5)
    assert (out.noisy, out.attacked) == (None, None)
    assert out.types.shape == (6, CLEAN + 1)
    assert (len(out.tokens), len(out.semantics)) == (4, 4)
    torch.testing.assert_close(out.semantics.norm(dim=1), torch.ones(4))


def test_noise_enters_at_the_seam(net):
    student = Student(net, CLEAN).eval()
    with torch.no_grad():
        out = student(views_of(net), 2, lambda tokens, semantics: tokens + 1)
        assert torch.equal(out.noisy, net.calibration(net.forward_head(out.tokens + 1)))


def test_an_attack_moves_each_score_its_way_within_its_size(net):
    images = torch.rand(4, 3, 96, 128, generator=torch.Generator().manual_seed(2))
    images[0] = 0  # black: cannot be moved down
    views = net.preprocess(images)

    def drawn():  # what decides an attack: the start within the ball, and the ways
        torch.manual_seed(4)
        return 2 * torch.rand_like(views) - 1, torch.randint(0, 2, (4,)) * 2 - 1

    start, ways = drawn()
    assert set(ways.tolist()) == {-1, 1}
    torch.manual_seed(4)
    moved = one_step_attack(net, net.score_views, views, 1 / 255)
    pixels, before = (v * net.std + net.mean for v in (moved, views))
    assert (pixels - before).abs().max() <= 1 / 255 + 1e-6
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert not torch.equal(moved, one_step_attack(net, net.score_views, views, 1 / 255))  # another start
    with torch.no_grad():
        change = net.score_views(moved) - net.score_views(views)
        assert torch.equal(change.sign(), ways.float())
        # The gradient is worth more than the random start alone.
        assert ((net.score_views(moved) - net.score_views(views + start / 255 / net.std)) * ways).min() > 0


def test_the_attacked_score_is_of_the_attacked_views():
    net = fresh_net()
    student, views = Student(net, CLEAN).eval(), views_of(net)
    torch.manual_seed(0)
    out = student(views, 3, attack=2 / 255)
    torch.manual_seed(0)
    moved = one_step_attack(net, net.score_views, views, 2 / 255)
    torch.testing.assert_close(out.attacked, net.score_views(moved), rtol=0, atol=1e-5)
    loss = losses.consistency(out.attacked, out.scores)
    (gradient,) = torch.autograd.grad(loss, [net.backbone.conv_stem.weight])
    assert gradient.abs().max() > 0


def test_uncertainty_learns_without_moving_the_score():
    net = fresh_net()
    out = Student(net, CLEAN).eval()(views_of(net), 3)
    losses.uncertainty(out.scores, torch.rand(3), torch.zeros(3), out.stds).backward()
    moved = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in net.named_parameters() if name.startswith("uncertainty.")}


def test_a_step_of_the_small_world_has_every_term(world):
    material = open_material(world)
    net = fresh_net(replace(CONFIG, defects=NAMES))
    memory, student = Memory(OBJECTIVE.memory), Student(net, CLEAN)
    found = set()
    for step in range(4):
        drawn = material.draw((0, step), 0, joint=step % 2 == 1)
        found |= set(step_losses(student, drawn, material.labels, OBJECTIVE, memory, torch.Generator()))
    assert found >= {"regression", "distillation", "ranking", "severity", "difference", "defects", "types"}
