"""The network's stages, on a small configuration and with closed-form answers."""

import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from helpers.published import TINY
from helpers.tokens import tokens_of

from qfm_metric import QFMScore
from qfm_metric.config import QFMConfig
from qfm_metric.geometry import native_pieces, view_size
from qfm_metric.model import Calibration, QFMNet, semantic_descriptor
from qfm_metric.weights import save_weights

BUDGET = 384 * 384


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return QFMNet(QFMConfig(dim=32, heads=2)).eval()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (384, 384)),
        ((384, 512), (320, 448)),
        ((512, 384), (448, 320)),
        ((2160, 3840), (288, 512)),
        ((256, 256), (256, 256)),  # never enlarged
        ((300, 451), (288, 448)),
        ((1, 1), (64, 64)),  # but there are at least 2 x 2 tokens
        ((64, 100_000), (64, 2304)),  # a strip is squeezed: memory stays bounded
    ],
)
def test_view_size(size, expected):
    assert view_size(*size, BUDGET) == expected


def test_view_size_bounds_area_and_shape():
    generator = torch.Generator().manual_seed(0)
    for height, width in torch.randint(64, 9000, (500, 2), generator=generator).tolist():
        h, w = view_size(height, width, BUDGET)
        assert h % 32 == w % 32 == 0
        # Rounding a side of s px to a multiple of 32 changes it by at most 16.
        assert h * w <= BUDGET * (1 + 16 / h) * (1 + 16 / w) * 1.1
        if max(height, width) < 8 * min(height, width):
            assert w / h == pytest.approx(width / height, rel=16 / h + 16 / w + 0.02)


def test_preprocess_is_antialiased_and_differentiable(net):
    stripes = torch.zeros(1, 3, 768, 768)
    stripes[..., ::2] = 1.0
    stripes.requires_grad_()
    views = net.preprocess(stripes)
    assert views.shape == (1, 1, 3, 384, 384)
    # One-pixel stripes average to grey, 0 after (x - 0.5) / 0.5; without antialiasing they come out as stripes.
    assert views[..., 2:-2].abs().max() < 1e-5
    views.sum().backward()
    assert (stripes.grad > 0).all()


def test_preprocess_leaves_a_fitting_picture_alone(net):
    images = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(net.preprocess(images)[:, 0], images * 2 - 1)


def test_semantic_descriptor_is_the_direction_of_the_mean():
    deepest = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 5, 7)
    torch.testing.assert_close(semantic_descriptor(deepest), torch.tensor([[0.6, 0.8]]))


def test_calibration_keeps_the_order_and_the_range():
    layer = Calibration()
    layer.slope.fill_(0.7)
    layer.offset.fill_(-0.3)
    logits = torch.linspace(-8, 8, 101)
    scores = layer(logits)
    assert (scores.diff() > 0).all()
    assert scores.min() > 0
    assert scores.max() < 1
    assert scores[50] == pytest.approx(torch.sigmoid(torch.tensor(-0.3)).item())


def test_forward_is_the_composition_of_its_stages(net):
    images = torch.rand(2, 3, 100, 140)
    tokens = tokens_of(net, net.preprocess(images))
    assert tokens.shape == (2, 3 * 4, 32)  # 96 x 128 px: a token per 32 x 32 px cell
    assert torch.equal(net.calibration(net.forward_head(tokens)), net(images))
    assert net(images).shape == (2,)


def test_the_seam_takes_tokens_of_several_views(net):
    views = net.preprocess(torch.rand(2, 3, 64, 96))
    doubled = torch.cat([views, views.flip(-1)], dim=1)
    tokens = tokens_of(net, doubled)
    assert tokens.shape == (2, 2 * 2 * 3, 32)
    torch.testing.assert_close(tokens[:, :6], tokens_of(net, views))
    torch.testing.assert_close(tokens[:, 6:], tokens_of(net, views.flip(-1)))
    assert net.score_views(doubled).shape == (2,)


def test_a_token_sees_its_cell(net):
    """Texture in one cell changes the shallow statistics of that cell alone."""
    image = torch.full((1, 3, 128, 128), 0.5)
    textured = image.clone()
    textured[..., 68:92, 36:60] += 0.3 * (torch.arange(24) % 2)
    shallow = 2 * 16  # mean and spread of the first map
    cells, changed = (net.cells(net.pyramid(net.preprocess(x)))[0, :shallow] for x in (image, textured))
    moved = (changed - cells).abs().amax(dim=0)
    assert moved[2, 1] > 0.01
    moved[2, 1] = 0
    assert moved.max() < 1e-5


def test_decoder_ignores_the_order_of_tokens(net):
    tokens = torch.randn(1, 12, 32)
    shuffled = tokens[:, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(net.forward_head(tokens), net.forward_head(shuffled), rtol=0, atol=1e-5)


def test_size(metric):
    assert sum(parameter.numel() for parameter in metric.parameters()) < 6_000_000


def test_a_shallower_network_ends_at_its_last_map(net):
    short = QFMNet(QFMConfig(depths=(0, 1, 2, 3), dim=32, heads=2)).eval()
    assert len(short.backbone.blocks) == 5
    assert len(net.backbone.blocks) == 7
    tokens = tokens_of(short, short.preprocess(torch.rand(1, 3, 64, 96)))
    assert tokens.shape == (1, 4 * 6, 32)  # a token per 16 x 16 px


def test_other_backbones_fit():
    net = QFMNet(QFMConfig(backbone="mobilenetv3_small_050", dim=32, heads=2)).eval()
    assert net(torch.rand(1, 3, 64, 64)).shape == (1,)


def test_gradient_check_in_double_precision(net):
    torch.manual_seed(0)
    decoder = net.decoder.double()
    head = net.head.double()
    tokens = torch.randn(1, 3, 32, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: F.softplus(head(decoder(t)).mean()), (tokens,))
    net.float()


@pytest.fixture(scope="module")
def native():
    """A network that looks at the whole picture and at its centre, in views of 64 x 64 px."""
    torch.manual_seed(0)
    return QFMNet(QFMConfig(view_pixels=64 * 64, native_views=1, dim=32, heads=2)).eval()


def test_the_native_piece_is_the_centre_at_full_resolution(native):
    images = torch.rand(2, 3, 200, 260)
    views = native.preprocess(images)
    assert views.shape == (2, 2, 3, 64, 64)
    torch.testing.assert_close(views[:, 1], images[..., 68:132, 98:162] * 2 - 1)
    torch.testing.assert_close(views[:, 0], QFMNet(QFMConfig(view_pixels=64 * 64)).preprocess(images)[:, 0])


def test_native_pieces_spread_along_the_diagonal():
    images = torch.arange(100.0 * 300).view(1, 1, 100, 300)
    pieces = native_pieces(images, (64, 64), 3)
    corners = [divmod(int(piece[0, 0, 0, 0]), 300) for piece in pieces]
    assert corners == [(6, 39), (18, 118), (30, 196)]
    assert all(piece.shape == (1, 1, 64, 64) for piece in pieces)


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (20, 30), (63, 500)])
def test_small_pictures_repeat_the_whole(native, size):
    images = torch.rand(1, 3, *size)
    views, distinct = native.preprocess(images), native.distinct_views(images)
    assert views.shape[:3] == (1, 2, 3)
    assert torch.equal(views[:, 0], views[:, 1])
    assert torch.equal(distinct, views[:, :1])
    torch.testing.assert_close(native.score_views(distinct), native.score_views(views), rtol=0, atol=1e-6)
    assert torch.equal(native(images), native.score_views(distinct))


@pytest.mark.parametrize("size", [(64, 64), (1000, 700), (64, 6000), (6000, 64), (3000, 4000)])
def test_native_views_cost_the_same_whatever_the_picture(native, size):
    views = native.preprocess(torch.zeros(1, 3, *size))
    assert views.shape[:3] == (1, 2, 3)
    assert views.shape[-2:].numel() <= 64 * 96  # the budget, but for rounding to cells


def test_the_gradient_reaches_through_both_views(native):
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    tokens = tokens_of(native, native.preprocess(image))
    for view, inside in ((tokens[:, :4], False), (tokens[:, 4:], True)):
        (gradient,) = torch.autograd.grad(view.square().sum(), image, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert gradient[..., 96:160, 96:160].abs().sum() > 0
        outside = gradient.clone()
        outside[..., 96:160, 96:160] = 0
        assert (outside.abs().sum() == 0) == inside
    native(image).sum().backward()
    assert (image.grad.abs().amax(dim=1) > 0).float().mean() > 0.9


def test_a_config_from_before_native_views_still_loads(tmp_path):
    torch.manual_seed(0)
    old = QFMNet(QFMConfig(**TINY)).eval()
    config = {name: value for name, value in asdict(old.config).items() if name != "native_views"}
    save_weights(tmp_path / "old.safetensors", config, old.state_dict(), torch.float32)
    metric = QFMScore.from_pretrained(tmp_path / "old.safetensors")
    assert metric.net.config.native_views == 0
    image = torch.rand(1, 3, 100, 140)
    torch.testing.assert_close(metric(image), old(image).detach(), rtol=0, atol=1e-6)


def test_uncertainty_is_a_positive_number_a_picture_and_changes_no_score():
    torch.manual_seed(0)
    plain = QFMNet(QFMConfig(view_pixels=64 * 64, dim=32, heads=2)).eval()
    torch.manual_seed(0)
    unsure = QFMNet(QFMConfig(view_pixels=64 * 64, dim=32, heads=2, uncertainty=True)).eval()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(plain(images), unsure(images))
    std = unsure.forward_std(unsure.decoder(tokens_of(unsure, unsure.preprocess(images))))
    assert std.shape == (2,)
    assert ((std > 0.1 * math.exp(-3)) & (std < 0.1 * math.exp(3))).all()


def test_uncertainty_is_true_or_false():
    with pytest.raises(ValueError, match=r"uncertainty: expected true or false, got 1"):
        QFMConfig(uncertainty=1)


def test_every_token_sees_its_views_mean_cell():
    torch.manual_seed(0)
    net = QFMNet(QFMConfig(view_pixels=64 * 64, native_views=1, dim=32, heads=2, context=8)).eval()
    cells = net.cells(net.pyramid(net.preprocess(torch.rand(1, 3, 128, 128))))
    moved = cells.clone()
    moved[1, :, 0, 0] += 1  # one cell of the second view
    with torch.no_grad():
        change = (net.embed(moved, n=1) - net.embed(cells, n=1))[0].abs().amax(dim=1)
    first, second = change.split(4)
    assert (first == 0).all()
    assert (second > 0).all()
    assert second[0] > second[1:].max()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2,)


def test_mixers_let_tokens_look_at_each_other():
    net = QFMNet(QFMConfig(view_pixels=64 * 64, dim=32, heads=2, mixers=1)).eval()
    tokens = torch.rand(1, 4, 32)
    moved = tokens.clone()
    moved[0, 0] += torch.rand(32)
    with torch.no_grad():
        assert (net.decoder.mixers(moved) - net.decoder.mixers(tokens))[0, 1:].abs().min() > 0
        assert net(torch.rand(2, 3, 64, 64)).shape == (2,)


def naming_net(**more):
    torch.manual_seed(0)
    config = QFMConfig(**TINY, view_pixels=96 * 96, native_views=1, mean_tokens=True, **more)
    return QFMNet(config).eval()


def test_defects_told_from_the_cells_move_no_score():
    plain, naming = naming_net(), naming_net(defects=("blur", "dark"), defect_width=8)
    images = torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(naming.judge_views(naming.preprocess(images)).scores, plain(images))


def test_defects_told_from_the_cells_see_both_views_and_the_spread():
    net = naming_net(defects=("blur", "dark"), defect_width=8)
    views = net.preprocess(torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1)))
    cells = net.cells(net.pyramid(views))
    turned = cells.clone()
    turned[1] = 2 * cells[1].mean(dim=(-2, -1), keepdim=True) - cells[1]  # as large a mean and a spread
    flat = cells.clone()
    flat[1] = cells[1].mean(dim=(-2, -1), keepdim=True)
    with torch.no_grad():
        seen = [net.statistics(some, 1) for some in (cells, turned, flat)]
        found, same, calmer = (net.forward_defects(net.embed(cells, 1), each) for each in seen)
    assert found.shape == (1, 2, 2)
    torch.testing.assert_close(same, found, rtol=0, atol=1e-5)  # sums in another order
    assert (calmer - found).abs().max() > 1e-4


def test_defects_told_from_the_cells_are_the_same_of_one_view_and_of_its_copy():
    net = naming_net(defects=("blur", "dark"), defect_width=8)
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, two = (net.judge_views(views).defects for views in (net.distinct_views(images), net.preprocess(images)))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)  # sums in another order


def test_a_third_reader_has_half_a_say():
    net = naming_net(spread_width=8)
    views = net.preprocess(torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(1)))
    cells = net.cells(net.pyramid(views))
    tokens, seen = net.embed(cells, 2), net.statistics(cells, 2)
    with torch.no_grad():
        readers = net.forward_readers(net.decoder(tokens), tokens, seen)
        assert readers.shape == (2, 3)
        torch.testing.assert_close(readers[:, 2:], net.spread(seen))
        torch.testing.assert_close(net.forward_head(tokens, seen), readers @ torch.tensor([0.25, 0.25, 0.5]))
        assert torch.equal(net.score_views(views), net.judge_views(views).scores)


@pytest.mark.parametrize("width", [0, 8])
def test_what_the_worst_defect_leaves_counts(width):
    plain, counting = (naming_net(defects=("blur", "dark"), defect_width=width, worst_defect=w) for w in (0.0, 0.5))
    views = plain.preprocess(torch.rand(3, 3, 128, 160, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        worst = plain.judge_views(views).defects[..., 0].amax(dim=1)
        expected = torch.logit(plain.score_views(views)) + 0.5 * torch.log(1 - worst)
        torch.testing.assert_close(torch.logit(counting.score_views(views)), expected)
        found = counting.judge_views(views, maps=True)
        assert torch.equal(found.scores, counting.score_views(views))
        assert torch.equal(found.defects, plain.judge_views(views).defects)
        torch.testing.assert_close(
            torch.logit(found.maps).mean((1, 2, 3)), torch.logit(found.scores), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), 11, "much"])
def test_how_much_the_worst_defect_counts_is_a_number(wrong):
    with pytest.raises(ValueError, match="worst_defect: expected a number from 0 to 10"):
        QFMConfig(mean_tokens=True, defects=("blur",), worst_defect=wrong)


def test_without_defects_none_counts():
    with pytest.raises(ValueError, match="0 without defects"):
        QFMConfig(worst_defect=0.25)


def test_a_third_reader_goes_with_a_second():
    with pytest.raises(ValueError, match="mean_tokens: expected true, since spread_width"):
        QFMConfig(spread_width=8)


@pytest.mark.parametrize("name", ["defect_width", "spread_width"])
def test_the_width_of_a_head_is_a_number(name):
    with pytest.raises(ValueError, match=f"{name}: expected an integer from 0 to 4096, got -1"):
        QFMConfig(**{name: -1})


@pytest.mark.parametrize("pixels", [64 * 64, 96 * 96, 100 * 100, 384 * 384])
def test_sides_are_multiples_of_a_cell_whatever_the_budget(pixels):
    for sides in ((200, 80), (4000, 30), (30, 4000), (64, 64)):
        assert all(side % 32 == 0 and side >= 64 for side in view_size(*sides, pixels))
