"""The contract of `assess` and what hangs on it: scores, deviations, intervals, words, percentiles."""

import dataclasses

import pytest
import torch
from helpers.published import TINY
from helpers.tokens import tokens_of
from scipy.stats import t

from qfm_metric import ImageError, QFMScore, WeightsError
from qfm_metric.assessment import Assessment, half_width
from qfm_metric.config import QFMConfig
from qfm_metric.defects import ADJECTIVES, DEFECTS, Defects
from qfm_metric.model import QFMNet
from qfm_metric.scale import QUANTILES, percentile


@pytest.fixture(scope="module")
def sure():
    """A small network that looks at a native view too, and predicts deviations."""
    torch.manual_seed(0)
    return QFMScore(QFMNet(QFMConfig(**TINY, view_pixels=128 * 128, native_views=1, uncertainty=True)))


@pytest.fixture(scope="module")
def mixed():
    """Pictures of different sizes; the first and the third share a forward pass on a GPU."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in [(64, 96), (200, 80), (64, 96), (33, 65), (1, 1)]]


def test_score_is_the_metrics_to_the_last_bit(metric, photo, random_images):
    for images in (photo, random_images, (random_images * 255).byte(), [photo, *random_images]):
        assert torch.equal(metric.assess(images).score, metric(images))


def test_a_list_keeps_its_order(sure, mixed):
    together = sure.assess(mixed)
    assert isinstance(together.quality_map, list)
    assert together.score.shape == together.std.shape == (5,)
    for i, image in enumerate(mixed):
        alone = sure.assess(image)
        assert torch.equal(together.score[i], alone.score[0])
        assert torch.equal(together.std[i], alone.std[0])
        assert torch.equal(together.quality_map[i], alone.quality_map[0])


def test_a_batch_is_its_pictures(sure, random_images):
    together = sure.assess(random_images)
    assert torch.equal(together.std, torch.cat([sure.assess(image).std for image in random_images]))
    assert torch.equal(together.quality_map, torch.cat([sure.assess(image).quality_map for image in random_images]))
    assert torch.equal(together.quality_map, sure.quality_map(random_images))
    assert torch.equal(together.std, sure.uncertainty(random_images))
    assert len(set(together.std.tolist())) == len(random_images)


def test_deviation_is_the_networks(sure, random_images):
    net = sure.net
    answers = net.decoder(tokens_of(net, net.preprocess(random_images)))
    torch.testing.assert_close(sure.uncertainty(random_images), net.forward_std(answers))


def test_weights_without_deviation_say_so(tiny_files, random_images):
    metric = QFMScore.from_pretrained(tiny_files[0])
    found = metric.assess(random_images)
    assert found.std is None
    with pytest.raises(ValueError, match="predict an uncertainty"):
        found.interval()
    with pytest.raises(WeightsError, match=metric.weights_id):
        metric.uncertainty(random_images)


def test_bad_input_is_refused_as_by_forward(sure):
    with pytest.raises(ValueError, match="divide by 255"):
        sure.assess(torch.full((3, 64, 64), 255.0))
    with pytest.raises(ValueError, match=r"images\[1\]"):
        sure.quality_map([torch.rand(3, 64, 64), torch.rand(1, 64, 64)])
    with pytest.raises(TypeError, match="load_image"):
        sure.uncertainty(b"photo.jpg")
    with pytest.raises(ImageError, match="found none"):
        sure.uncertainty("photo.jpg")


def test_autocast_changes_nothing(sure, random_images):
    expected = sure.assess(random_images)
    with torch.autocast("cpu", torch.bfloat16):
        found = sure.assess(random_images)
    for name in ("score", "std", "quality_map"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def some(scores, std=None):
    return Assessment(
        torch.tensor(scores), None if std is None else torch.tensor(std), torch.rand(len(scores), 1, 2, 2)
    )


def test_intervals_are_students_and_stay_on_the_scale():
    found = some([0.5, 0.02, 0.95], [0.1, 0.1, 0.1])
    low, high = found.interval(0.95)
    torch.testing.assert_close(low, torch.tensor([0.5 - 0.18374, 0, 0.95 - 0.18374]), atol=1e-5, rtol=0)
    torch.testing.assert_close(high, torch.tensor([0.5 + 0.18374, 0.02 + 0.18374, 1]), atol=1e-5, rtol=0)
    low, high = found.interval()
    assert high[0] - low[0] == pytest.approx(2 * 0.0686, abs=2e-4)


@pytest.mark.parametrize("coverage", [0.01, 0.5, 0.68, 0.95, 0.9999])
def test_half_widths_are_students(coverage):
    assert half_width(coverage) == pytest.approx(t.ppf((1 + coverage) / 2, 3) / 3**0.5, rel=1e-9)


@pytest.mark.parametrize("coverage", [0, 1, 68])
def test_intervals_need_a_probability(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        some([0.5], [0.1]).interval(coverage)


def test_words_and_percentiles_follow_the_scores():
    found = some([0.1, 0.3, 0.5, 0.7192, 0.9])
    assert found.band == ["bad", "poor", "fair", "good", "excellent"]
    assert found.percentile == sorted(found.percentile)
    assert found.percentile[3] == pytest.approx(50, abs=0.01)  # the median MOS of the training part


def test_percentile_goes_from_0_to_100():
    assert len(QUANTILES) == 101
    assert list(QUANTILES) == sorted(set(QUANTILES))
    assert (percentile(0), percentile(1)) == (0, 100)
    for percent, value in enumerate(QUANTILES):
        assert percentile(value) == pytest.approx(percent)
    middle = (QUANTILES[30] + QUANTILES[31]) / 2
    assert percentile(middle) == pytest.approx(30.5)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_percentile_needs_a_score(score):
    with pytest.raises(ValueError, match="expected a score"):
        percentile(score)


def test_an_assessment_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        some([0.5]).score = torch.zeros(1)


@pytest.fixture(scope="module", params=[0, 8], ids=["mean-tokens", "cells"])
def naming(request):
    """A small network that names three defects, by random weights."""
    torch.manual_seed(0)
    views = {"view_pixels": 96 * 96, "native_views": 1, "mean_tokens": True, "uncertainty": True}
    return QFMScore(QFMNet(QFMConfig(**TINY, **views, defects=("blur", "noise", "dark"), defect_width=request.param)))


def test_defects_have_names_costs_deviations_and_maps(naming, random_images):
    found = naming.assess(random_images)
    defects = found.defects
    assert defects.names == ("blur", "noise", "dark")
    assert defects.severity.shape == defects.std.shape == (3, 3)
    assert defects.maps.shape == (3, 3, *found.quality_map.shape[-2:])
    for values in (defects.severity, defects.std, defects.maps):
        assert ((values > 0) & (values < 1)).all()
    judged = naming.net.judge_views(naming.net.distinct_views(random_images))
    torch.testing.assert_close(defects.severity, judged.defects[..., 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(defects.std, judged.defects[..., 1], rtol=0, atol=1e-6)


def test_naming_defects_changes_no_score(naming, random_images):
    assert torch.equal(naming.assess(random_images).score, naming(random_images))


def test_a_list_keeps_the_order_of_defects(naming, mixed):
    together = naming.assess(mixed).defects
    assert isinstance(together.maps, list)
    for i, image in enumerate(mixed):
        alone = naming.assess(image).defects
        assert torch.equal(together.severity[i], alone.severity[0])
        assert torch.equal(together.maps[i], alone.maps[0])


def test_a_picture_of_one_texture_costs_everywhere_what_it_costs(naming):
    """A flat picture is the same in every cell but at the border, which the backbone pads."""
    defects = naming.assess(torch.full((1, 3, 96, 96), 0.5)).defects
    inner = defects.maps[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(inner.mean((1, 2)), defects.severity[0], rtol=0, atol=0.05)


def defects_of(**costs):
    severity = torch.tensor([list(costs.values())])
    return Defects(tuple(costs), severity, torch.full_like(severity, 0.08), severity[..., None, None])


def test_the_top_defect_and_a_sentence():
    found = Assessment(torch.tensor([0.3]), None, torch.zeros(1), defects_of(blur=0.02, noise=0.31, dark=0.12))
    assert found.top_defect == ["noise"]
    assert found.sentence == ["poor: mostly noisy (0.31 +- 0.08), somewhat dark"]
    good = Assessment(torch.tensor([0.7]), None, torch.zeros(1), defects_of(blur=0.14, noise=0.01))
    assert (good.top_defect, good.sentence) == ([""], ["good: nothing stands out"])
    many = defects_of(blur=0.5, noise=0.4, dark=0.3, warped=0.2).sentences()
    assert many == ["mostly blurred (0.50 +- 0.08), somewhat noisy, somewhat dark"]


def test_weights_that_name_no_defects_say_so(sure, random_images):
    found = sure.assess(random_images)
    assert found.defects is None
    with pytest.raises(ValueError, match="weights that name defects"):
        found.top_defect  # noqa: B018
    with pytest.raises(ValueError, match="weights that name defects"):
        found.sentence  # noqa: B018


def test_every_defect_has_a_word():
    assert ADJECTIVES.keys() == DEFECTS.keys()
