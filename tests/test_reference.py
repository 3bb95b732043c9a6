"""QFMReference: 1 for identical pictures, lower the more differs; what it takes, what it refuses, its gradient."""

from dataclasses import replace

import pytest
import torch
from helpers.small import SMALL, make_small_metric
from torch.nn.functional import avg_pool2d

from qfm_metric import QFMReference, QFMScore, WeightsError
from qfm_metric.model import QFMNet
from qfm_metric.reference_head import ReferenceHead, worst


def trained_head(head):
    """As training leaves it: other units for other channels, and a reference that matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in (head.masking, head.kinds[2]):
            layer.weight.normal_(0, 0.1, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
        head.differences.copy_(torch.rand(head.differences.shape, generator=generator) ** 4)
    return head


@pytest.fixture(scope="module")
def compare():
    metric = make_small_metric(reference=True)
    trained_head(metric.net.reference)
    return QFMReference(metric)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    references = torch.rand(3, 3, 100, 150, generator=generator)
    noise = torch.randn(references.shape, generator=generator)
    return (references + 0.1 * noise).clamp(0, 1), references


def test_identical_pictures_get_exactly_one(compare, pairs):
    for images in (*pairs, torch.zeros(1, 3, 40, 40), torch.ones(1, 3, 300, 64)):
        assert compare(images, images.clone()).tolist() == [1.0] * len(images)


def test_different_pictures_get_less_and_more_noise_less_still(compare):
    generator = torch.Generator().manual_seed(0)
    reference = 0.3 + 0.4 * torch.rand(1, 3, 128, 128, generator=generator)
    noise = torch.randn(reference.shape, generator=generator)
    found = [compare(reference + size * noise, reference).item() for size in (0.0, 0.01, 0.03, 0.06)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
    assert found[-1] > 0


def test_any_difference_costs_and_none_is_rewarded():
    head = trained_head(ReferenceHead(6, 2))
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(200, 2, 9, 6, generator=generator)
    for size in (1e-2, 1.0, 100.0):
        found = head(reference + size * torch.randn(reference.shape, generator=generator), reference)
        assert ((found >= 0) & (found < 1)).all()


def test_training_cannot_make_a_difference_pay():
    head = trained_head(ReferenceHead(6, 2))
    with torch.no_grad():
        head.prices.fill_(-1)
    cells = torch.randn(2, 4, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    assert head(*cells).tolist() == [1.0] * 4


def test_a_kind_is_that_of_larger_differences_like_it():
    head = trained_head(ReferenceHead(6, 2))
    gaps = torch.randn(4, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    # Differences of one deviation are a thousand times the size below which kinds fade.
    torch.testing.assert_close(head.factors(3 * gaps), head.factors(gaps), rtol=1e-3, atol=0)
    assert not torch.allclose(head.factors(gaps.flip(3)), head.factors(gaps), rtol=1e-2)


def test_pictures_and_references_may_be_exchanged(compare, pairs):
    assert torch.equal(compare(*pairs), compare(*pairs[::-1]))


def test_the_worst_pool_lies_between_the_mean_and_the_highest_cost():
    costs = torch.tensor([0.0, 0.1, 0.2, 1.5]).view(1, 1, 4, 1)
    assert costs.mean() < worst(costs).item() < costs.max()
    assert worst(torch.zeros(1, 1, 7, 2)).tolist() == [[[0.0, 0.0]]]


def test_a_list_is_compared_as_a_batch_is(compare, pairs):
    images, references = pairs
    expected = compare(images, references)
    assert expected.shape == (3,)
    assert torch.equal(compare([*images], [*references]), expected)
    assert torch.equal(compare(images, [*references]), expected)
    assert torch.equal(compare(images[0], references[0]), expected[:1])


def test_pictures_of_several_sizes_and_single_views(compare):
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, *size, generator=generator) for size in ((64, 64), (40, 200), (20, 16))]
    found = compare(images, [image.flip(2) for image in images])
    assert (found < 1).all()
    assert compare(images, images).tolist() == [1.0] * 3


def test_uint8_is_its_share_of_255(compare, pairs):
    images, references = ((255 * both).byte() for both in pairs)
    assert torch.equal(compare(images, references), compare(images / 255, references / 255))


def test_one_minus_it_is_a_loss_that_brings_a_picture_nearer(compare, pairs):
    images, references = pairs[0][:1].clone().requires_grad_(), pairs[1][:1]
    before = 1 - compare(images, references).mean()
    before.backward()
    assert images.grad.isfinite().all()
    # Small steps: only the direction is tested.
    moved = images.detach() - 0.02 * images.grad / images.grad.abs().max()
    assert 1 - compare(moved, references).mean() < before


def test_the_gradient_is_finite_where_nothing_differs(compare, pairs):
    for reference in (pairs[1], torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)):
        images = reference.clone().requires_grad_()
        compare(images, reference).sum().backward()
        assert images.grad.isfinite().all()


@pytest.mark.parametrize(
    ("images", "references", "says"),
    [
        ((2, 3, 64, 64), (1, 3, 64, 64), r"one for each of 2 images, got 1; .*expand\(len\(images\)"),
        ((2, 3, 64, 64), (2, 3, 64, 80), "64 x 64 px .height x width., got 64 x 80 px; cut both"),
        ((2, 1, 64, 64), (2, 3, 64, 64), "expand a grey image"),
    ],
)
def test_what_cannot_be_compared_is_refused(compare, images, references, says):
    with pytest.raises(ValueError, match=says):
        compare(torch.rand(images), torch.rand(references))


@pytest.mark.parametrize(
    "references", [torch.full((2, 3, 64, 64), torch.nan), torch.rand(2, 1, 64, 64), None, [], [torch.rand(64, 64)] * 2]
)
def test_what_is_wrong_with_the_references_is_not_said_of_the_images(compare, references):
    with pytest.raises((TypeError, ValueError), match=r"^references"):
        compare(torch.rand(2, 3, 64, 64), references)


def test_the_pair_of_another_size_is_named(compare):
    with pytest.raises(ValueError, match=r"references\[1\]: expected the image's size"):
        compare([torch.rand(3, 64, 64)] * 2, [torch.rand(3, 64, 64), torch.rand(3, 32, 64)])


def test_weights_without_the_head_are_refused_and_the_remedy_is_said():
    with pytest.raises(WeightsError, match=r"compare with a reference, these do not; choose "):
        QFMReference(make_small_metric())


def test_the_shipped_head_sees_what_people_see(photo):
    """Ever more blur and noise cost ever more, and what nobody sees hardly anything."""
    compare = QFMReference()

    def kept(change):
        return compare(change(photo), photo).item()

    def blurred(side):
        return kept(lambda image: avg_pool2d(image, side, 1, side // 2, count_include_pad=False))

    def noisy(std):
        noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
        return kept(lambda image: (image + std * noise).clamp(0, 1))

    assert kept(lambda image: image) == 1
    assert kept(lambda image: (image * 255).round() / 255) > 0.99  # a photograph's own steps
    for ladder in ([blurred(x) for x in (3, 7, 15, 31)], [noisy(x) for x in (0.02, 0.06, 0.15, 0.3)]):
        assert ladder == sorted(ladder, reverse=True)
        assert ladder[0] > 0.6
        assert ladder[-1] < 0.4


def test_it_stays_in_evaluation_and_is_not_trained(compare):
    assert not compare.train().training
    assert not any(parameter.requires_grad for parameter in compare.parameters())


def test_the_head_goes_with_the_weights_and_moves_no_score(tmp_path, compare, pairs):
    compare.metric.save_pretrained(tmp_path)
    loaded = QFMScore.from_pretrained(tmp_path)
    assert loaded.net.config == replace(SMALL, reference=True)
    assert torch.equal(QFMReference(loaded)(*pairs), compare(*pairs))
    plain = QFMNet(SMALL)
    plain.load_state_dict({k: v for k, v in loaded.net.state_dict().items() if not k.startswith("reference.")})
    assert torch.equal(QFMScore(plain)(pairs[0]), loaded(pairs[0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(compare, pairs):
    expected = compare(*pairs)
    moved = QFMReference(compare.metric, device="cuda")
    # A convolution sums in another order there.
    torch.testing.assert_close(moved(*pairs).cpu(), expected, atol=1e-4, rtol=0)
    assert moved(pairs[0], pairs[0]).tolist() == pytest.approx([1.0] * 3, abs=1e-4)
    moved.to("cpu")
