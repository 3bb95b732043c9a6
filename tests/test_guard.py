"""GuardedScore: what it computes, from closed forms, on small networks of random weights that disagree."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small import SMALL, make_small_metric

from qfm_metric import GuardedScore, QFMLoss, QFMScore
from qfm_metric.images import to_unit
from qfm_metric.model import QFMNet


@pytest.fixture
def images():
    """Six images of `(3, 64, 96)`, from dark to bright, of the same texture."""
    texture = torch.rand(6, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    return texture * torch.linspace(0.1, 1, 6)[:, None, None, None]


@pytest.fixture
def guard(small_metric, images):
    """Holds `small_metric` below a network that says nearly the contrary; a margin that holds three of the images."""
    robust = make_small_metric()
    robust.net.calibration.slope.neg_()
    robust.net.calibration.offset.add_(5.2)
    gap = (small_metric(images) - robust(images)).sort().values
    assert gap[3] - gap[2] > 0.001
    middle = gap[2:4].mean().item()
    return GuardedScore(small_metric, robust, margin=(middle, middle))


def is_held(guard, images):
    return guard.accurate(images) > guard.robust(images) + guard.margin[0]


def test_it_is_the_accurate_score_below_its_lid_and_the_lid_above(guard, images):
    scores, held = guard(images), is_held(guard, images)
    assert held.sum() == 3
    assert torch.equal(scores[~held], guard.accurate(images)[~held])
    torch.testing.assert_close(scores[held], guard.robust(images)[held] + guard.margin[0])
    assert scores.dtype == torch.float32


def test_a_wide_margin_holds_nothing_and_scores_stay_in_their_range(guard, images):
    assert torch.equal(GuardedScore(guard.accurate, guard.robust, margin=(1, 1))(images), guard.accurate(images))
    assert torch.equal(GuardedScore(guard.accurate, guard.robust, margin=(-1, -1))(images), torch.zeros(6))


def test_the_margin_grows_with_what_the_robust_network_does_not_see(guard):
    """Its views have 64 x 64 px."""
    guard = GuardedScore(guard.accurate, guard.robust, margin=(0.1, 0.3))
    small, exact, larger, wide = (torch.zeros(3, *size) for size in ((32, 48), (64, 64), (128, 128), (64, 640)))
    found = [guard._margin(*image.shape[-2:]) for image in (small, exact, larger, wide)]
    assert found == pytest.approx([0.1, 0.1, 0.1 + 0.2 * 0.75, 0.1 + 0.2 * 0.9])


def test_gradients_are_those_of_the_network_that_decides(guard, images):
    leaf, held = images.requires_grad_(), is_held(guard, images)
    gradients = [torch.autograd.grad(score(leaf).sum(), leaf)[0] for score in (guard, guard.accurate, guard.robust)]
    for i, robust_decides in enumerate(held):
        assert torch.equal(gradients[0][i], gradients[2 if robust_decides else 1][i])
        assert gradients[0][i].abs().max() > 0


def test_images_of_any_size_and_type_as_qfmscore_takes_them(guard, images):
    guard = GuardedScore(guard.accurate, guard.robust, margin=(-0.05, 0.05))
    alone = guard(images)
    assert (alone != guard.accurate(images)).any()
    torch.testing.assert_close(guard([*images]), alone)
    assert torch.equal(guard(images[2]), alone[2:3])
    sizes = [images[0], torch.rand(3, 40, 200), torch.rand(3, 64, 64)]
    assert torch.equal(guard(sizes), torch.cat([guard(image) for image in sizes]))
    whole = (images * 255).round()
    torch.testing.assert_close(guard(whole.to(torch.uint8)), guard(whole / 255))
    with pytest.raises(ValueError, match="NaN"):
        guard(torch.full((1, 3, 64, 64), torch.nan))


def test_a_loss_holds_it_and_does_not_train_it(guard, images):
    loss = QFMLoss("none", metric=guard)
    assert torch.equal(loss(images), 1 - guard(images))
    assert list(loss.state_dict()) == ["step"]
    assert list(loss.parameters()) == []
    assert not any(parameter.requires_grad for parameter in guard.parameters())
    loss.half().train()
    assert {tensor.dtype for tensor in guard.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    assert torch.equal(loss(images), 1 - guard(images))
    assert not any(module.training for part in (guard.accurate, guard.robust) for module in part.modules())
    assert "custom guarded by custom" in repr(loss)


def test_a_loss_checkpoints_it_and_looks_through_windows(guard, images):
    leaf = images.requires_grad_()
    kept, again = (torch.autograd.grad(QFMLoss(metric=guard, checkpoint=n)(leaf), leaf)[0] for n in (0, 2))
    torch.testing.assert_close(again, kept)
    loss = QFMLoss(metric=guard, jitter=0.2)
    loss(leaf).backward()
    assert leaf.grad.isfinite().all()
    assert not torch.equal(loss(leaf), loss(leaf))


@pytest.mark.slow
def test_compiled_without_breaks(guard, images):
    guard = GuardedScore(guard.accurate, guard.robust, margin=(-0.05, 0.05))
    compiled = torch.compile(guard, backend="eager", fullgraph=True, dynamic=True)
    for part in (images, images[:4, :, :60, :80]):
        torch.testing.assert_close(compiled(part), guard(part))


def test_copies_score_alike(guard, images):
    for other in (copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))):
        assert torch.equal(other(images), guard(images))


@pytest.mark.parametrize("margin", [0.1, (0.1,), (0, 0, 0), (0, 1.5), (-2, 0), ("0.1", 0), None, (0, float("nan"))])
def test_margins_outside_their_range_are_refused(small_metric, margin):
    with pytest.raises(ValueError, match="margin: expected two numbers from -1 to 1, got"):
        GuardedScore(small_metric, small_metric, margin=margin)


def test_what_is_no_score_is_refused(small_metric, guard):
    for networks in (("qfm-tiny-v2",), (small_metric, "qfm-robust-v1"), (guard, small_metric)):
        with pytest.raises(TypeError, match=r"(accurate|robust): expected a QFMScore, got (str|GuardedScore)"):
            GuardedScore(*networks)


def test_margins_may_be_numpys(small_metric):
    guard = GuardedScore(small_metric, small_metric, margin=(np.float32(0.25), np.float64(0.5)))
    assert guard.margin == (0.25, 0.5)


def test_ratings_have_the_deviation_and_the_map_of_the_network_that_decides(guard):
    """The map is moved to the score: the mean of a map's log-odds is the score's log-odds."""
    guard = GuardedScore(guard.accurate, guard.robust, margin=(-0.05, 0.05))
    noise = np.random.default_rng(0).integers(0, 256, (6, 90, 120, 3)) * np.linspace(0.1, 1, 6)[:, None, None, None]
    pictures = list(noise.astype(np.uint8))
    views = [guard.look(pixels) for pixels in pictures]
    images = [to_unit(pixels) for pixels in pictures]
    ratings = guard.rate(views, maps=True)
    assert [rating.score for rating in ratings] == guard(images).tolist()
    held = [rating.score < above for rating, above in zip(ratings, guard.accurate(images).tolist(), strict=True)]
    assert 0 < sum(held) < 6
    for rating, is_held, image in zip(ratings, held, images, strict=True):
        found = (guard.robust if is_held else guard.accurate).assess(image)
        assert rating.std == (None if found.std is None else pytest.approx(found.std.item()))
        log_odds = rating.quality_map.logit()
        assert log_odds.mean().item() == pytest.approx(math.log(rating.score / (1 - rating.score)), abs=1e-4)
        moved = log_odds - found.quality_map[0].logit()
        torch.testing.assert_close(moved, moved.mean().expand_as(moved), rtol=0, atol=1e-4)  # log-odds in float32
    assert [rating.quality_map for rating in guard.rate(views)] == [None] * 6
    assert torch.equal(guard.show(views[0], (90, 120)), guard.accurate.show(views[0][0], (90, 120)))


def test_the_note_is_the_accurate_networks_whichever_decides(guard):
    torch.manual_seed(0)
    noting = QFMNet(replace(SMALL, mean_tokens=True, photograph=True)).requires_grad_(False)
    noting.photograph.weight.zero_()
    noting.photograph.bias.fill_(-1)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    for margin in (-1.0, 1.0):  # held, and not
        guarded = GuardedScore(QFMScore(noting), guard.robust, margin=(margin, margin))
        assert guarded.rate([guarded.look(pixels)])[0].note == "not a photograph"


def test_the_descriptor_is_the_accurate_networks_whichever_decides(guard):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    views = guard.look(pixels)
    (expected,) = guard.accurate.rate([views[0]], descriptors=True)
    for margin in (-1.0, 1.0):  # held, and not
        guarded = GuardedScore(guard.accurate, guard.robust, margin=(margin, margin))
        (found,) = guarded.rate([guarded.look(pixels)], descriptors=True)
        assert torch.equal(found.descriptor, expected.descriptor)
        assert guarded.rate([views])[0].descriptor is None


def test_the_signature_names_both(guard):
    assert guard.signature.count("weights custom") == 2
    assert "margin=" in guard.signature


def test_by_default_it_holds_the_default_weights_below_the_robust_ones(metric, photo):
    guard = GuardedScore()
    assert guard.weights_id == f"{metric.weights_id} guarded by qfm-robust-v1"
    for image in (photo, photo[:, :192, :192], torch.rand(3, 192, 192)):
        accurate, robust = guard.accurate(image).item(), guard.robust(image).item()
        assert accurate == metric(image).item()
        assert guard(image).item() == pytest.approx(min(accurate, robust + guard._margin(*image.shape[-2:])), abs=1e-6)
