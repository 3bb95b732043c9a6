"""The quality map: how it hangs together with the score, where its cells lie, and what it finds on photographs."""

import numpy as np
import pytest
import torch
from helpers.published import TINY
from PIL import Image

from qfm_metric import QFMScore, load_image
from qfm_metric.cells import statistics
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet
from qfm_metric.overlay import LONGEST_SIDE, draw_overlay, save_overlay
from qfm_metric.train.distortions.simple import degrade

TOP_LEFT, BOTTOM_RIGHT = (slice(None), slice(0, 200), slice(0, 300)), (slice(None), slice(200, 400), slice(300, 600))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return QFMScore(QFMNet(QFMConfig(**TINY, view_pixels=128 * 128, native_views=1)))


@pytest.fixture(scope="module")
def coffee():
    """A photograph, `(3, 400, 600)`."""
    import skimage

    return load_image(f"{skimage.__path__[0]}/data/coffee.png")


def degraded(image, kind, where, strength=0.5):
    """`image` with a region degraded."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    changed = image.clone()
    changed[where] = load_image(degrade(pixels, kind, strength))[where]
    return changed


def means(quality_map):
    """Of the four quadrants, left to right and top to bottom."""
    (cells,) = quality_map[0]
    rows, columns = (side // 2 for side in cells.shape)
    parts = (cells[:rows, :columns], cells[:rows, -columns:], cells[-rows:, :columns], cells[-rows:, -columns:])
    return torch.stack([part.mean() for part in parts])


@pytest.mark.parametrize("size", [(96, 160), (64, 64), (333, 200), (30, 500)])
def test_mean_log_odds_of_the_map_are_those_of_the_score(metric, tiny, size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    for scorer in (metric, tiny):
        found = scorer.assess(images)
        assert found.quality_map.dtype == torch.float32
        assert ((found.quality_map > 0) & (found.quality_map < 1)).all()
        mean = torch.logit(found.quality_map.double()).mean((1, 2, 3))
        torch.testing.assert_close(mean, torch.logit(found.score.double()), atol=1e-5, rtol=0)
        assert found.quality_map.std() > 1e-4  # not the score everywhere


def test_log_odds_are_the_scores_in_a_photograph_too(metric, coffee):
    found = metric.assess(degraded(coffee, "blur", TOP_LEFT))
    mean = torch.logit(found.quality_map.double()).mean((1, 2, 3))
    torch.testing.assert_close(mean, torch.logit(found.score.double()), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "grid"), [((96, 160), (3, 5)), ((400, 600), (8, 11)), ((20, 20), (2, 2))])
def test_the_grid_is_that_of_the_whole_view(metric, size, grid):
    images = torch.rand(2, 3, *size)
    assert metric.quality_map(images).shape == (2, 1, *grid)
    assert [one.shape for one in metric.quality_map(list(images))] == [(1, *grid)] * 2


@pytest.mark.parametrize("parts", [{}, {"mixers": 2}, {"context": 8}])
def test_a_cell_is_a_picture_that_is_alike_everywhere(parts):
    """Local logits differ by what whole pictures of one cell's statistics differ by."""
    torch.manual_seed(0)
    net = QFMNet(QFMConfig(**TINY, **parts)).eval()
    cells, logits = torch.randn(1, len(net.standardize.mean), 3, 4), torch.rand(1)
    local = net.forward_local(cells, logits)
    torch.testing.assert_close(local.mean((1, 2, 3)), logits)

    corner, middle = cells[0, :, :2, :2].mean((1, 2)), cells[0, :, 0:3, 1:4].mean((1, 2))
    everywhere = torch.stack([corner, middle])[..., None, None].expand(-1, -1, 5, 6)
    alike = net.forward_head(net.embed(everywhere, n=2))
    torch.testing.assert_close(local[0, 0, 0, 0] - local[0, 0, 1, 2], alike[0] - alike[1], atol=1e-5, rtol=0)


def test_gradient_reaches_the_pixels(tiny):
    images = torch.rand(2, 3, 96, 128, requires_grad=True)
    tiny.quality_map(images)[..., 0].sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("kind", ["blur", "noise", "jpeg", "underexpose"])
def test_a_degraded_quadrant_is_the_worst(metric, coffee, kind):
    clean = means(metric.quality_map(coffee))
    for where, place in ((TOP_LEFT, 0), (BOTTOM_RIGHT, 3)):
        found = means(metric.quality_map(degraded(coffee, kind, where, 0.75)))
        assert (found - clean).argmin() == place


def test_repairing_the_worst_region_raises_the_score_most(metric, coffee):
    """Of two degraded regions, the map's lower one is worth more."""
    both = degraded(degraded(coffee, "noise", TOP_LEFT, 0.7), "noise", BOTTOM_RIGHT, 0.1)
    before = metric.assess(both)
    places = means(before.quality_map)
    assert places[0] < places[3]
    repaired = []
    for where in (TOP_LEFT, BOTTOM_RIGHT):
        image = both.clone()
        image[where] = coffee[where]
        repaired.append(metric(image).item())
    assert repaired[0] > max(before.score.item(), repaired[1])


@torch.inference_mode()
def test_deleting_the_worst_cells_raises_the_score_and_the_best_lowers_it(metric):
    """On average, and in three of four photographs: the map is local, and the network sees more than that."""
    import skimage

    changes = []
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        net, image = metric.net, load_image(f"{skimage.__path__[0]}/data/{name}")
        views = net.preprocess(degraded(image, "noise", TOP_LEFT)[None])
        cells, order = net.cells(net.pyramid(views)), net.judge_views(views, maps=True).maps.flatten().argsort()
        quarter, logits = len(order) // 4, []
        for kept in (order, order[quarter:], order[:-quarter]):  # of the whole view; the native view stays
            some = cells[:1].flatten(2)[..., kept].unsqueeze(-1)
            tokens = torch.cat([net.embed(some, n=1), net.embed(cells[1:], n=1)], dim=1)
            seen = torch.cat([statistics(some), statistics(cells[1:])], dim=1)
            logits.append(net.forward_head(tokens, seen).item())
        changes.append((logits[1] - logits[0], logits[0] - logits[2]))
    gains = torch.tensor(changes)
    assert (gains.mean(dim=0) > 0).all()
    assert ((gains > 0).sum(dim=0) >= 3).all()


def test_cutting_off_the_worst_half_leaves_the_better_picture(metric, coffee):
    image = degraded(coffee, "jpeg", (slice(None), slice(None), slice(300, 600)), 0.75)
    left, right = image[..., :300], image[..., 300:]
    places = means(metric.quality_map(image))
    assert places[[0, 2]].mean() > places[[1, 3]].mean()
    whole, kept, lost = (metric(part).item() for part in (image, left, right))
    assert kept > whole > lost


def test_overlay_is_dark_where_quality_is_low_and_shows_the_picture():
    image = torch.full((3, 60, 80), 0.5)
    image[:, :, 40:] = 1.0
    quality = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    drawn = np.asarray(draw_overlay(image, quality, score=0.5).convert("L"), dtype=float)
    assert drawn.shape[0] > 60  # the legend is below
    drawn = drawn[:60]
    assert drawn[5, 10] < drawn[30, 10] < drawn[55, 10]
    assert drawn[5, 10] < drawn[5, 70]
    assert draw_overlay((image * 255).byte(), quality[0]).mode == "RGB"


def test_a_large_overlay_is_reduced():
    drawn = draw_overlay(torch.rand(3, 50, 3000), torch.rand(1, 2, 36))
    assert drawn.width == LONGEST_SIDE
    narrow = draw_overlay(torch.rand(3, 300, 1), torch.rand(1, 9, 2))  # the legend is wider than the picture
    assert narrow.height > 300


@pytest.mark.parametrize(("image", "quality"), [((1, 8, 8), (1, 2, 2)), ((3, 8, 8), (2, 1, 2, 2)), ((8, 8), (2, 2))])
def test_overlay_refuses_other_shapes(image, quality):
    with pytest.raises(ValueError, match="expected"):
        draw_overlay(torch.rand(image), torch.rand(quality))


def test_no_overlay_overwrites_anything(tmp_path):
    folder = tmp_path / "new" / "maps"
    colours = ("red", "green", "blue")
    written = [
        save_overlay(Image.new("RGB", (4, 4), colour), f"{parent}/cat.{suffix}", folder)
        for colour, parent, suffix in zip(colours, "aba", ("jpg", "jpg", "png"), strict=True)
    ]
    assert [path.name for path in written] == ["cat-map.png", "cat-map-2.png", "cat-map-3.png"]
    for colour, path in zip(colours, written, strict=True):
        assert Image.open(path).getpixel((0, 0)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_what_cannot_be_drawn_or_saved_is_named(tmp_path):
    image, quality = torch.rand(3, 50, 40), torch.rand(1, 2, 2)
    for image_, quality_, says in (("a.jpg", quality, "image: expected a tensor"), (image, 1, "quality_map: expected")):
        with pytest.raises(TypeError, match=says):
            draw_overlay(image_, quality_)
    with pytest.raises(TypeError, match="overlay: expected what draw_overlay gives, got Tensor"):
        save_overlay(image, "a.jpg", tmp_path)
