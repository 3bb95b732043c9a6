"""score_360: closed forms by a metric that returns the mean, and what the default weights say."""

import numpy as np
import pytest
import torch
from helpers.gpano import gpano
from helpers.mean import Mean
from helpers.panoramas import damaged, directions, make_panorama, turned
from helpers.small import make_small_metric
from helpers.torch_state import STATES
from PIL import Image

from qfm_metric import GuardedScore, ImageError, QFMScore, score_360
from qfm_metric.compiled import PACKAGES, TOLERANCE, CompiledScore
from qfm_metric.folder.options import RUNTIMES
from qfm_metric.panorama.sphere import Placement, Sphere
from qfm_metric.rating import NOT_A_PHOTOGRAPH


@pytest.fixture(scope="module")
def panorama():
    """Small: viewports of 191 px."""
    return make_panorama(504)


def test_the_score_is_the_weighted_mean_of_the_viewports():
    found = score_360(torch.rand(3, 90, 180, generator=torch.Generator().manual_seed(0)), Mean())
    weights = torch.tensor([viewport.weight for viewport in found.viewports])
    assert found.viewport_scores.shape == (30,)
    assert found.score == pytest.approx((weights * found.viewport_scores).sum().item(), abs=1e-6)
    assert found.side == 68
    assert found.viewport_scores.std() > 0


def test_a_grey_sphere_is_grey_everywhere():
    found = score_360(torch.full((3, 100, 200), 0.3), Mean())
    assert found.score == pytest.approx(0.3, abs=1e-5)
    torch.testing.assert_close(found.quality_map, torch.full((1, 18, 36), 0.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_map_is_bright_where_the_sphere_is(axis):
    """A sphere that is brightest to the right, above or in front, and darkest in the opposite direction."""
    brightness = (directions(90, 180)[axis] * 0.4 + 0.5).float()
    found = score_360(brightness.expand(3, -1, -1), Mean()).quality_map[0]
    wanted = directions(18, 36)[axis].float()
    # The metric's map has 2 x 2 cells a viewport, so it is smoother: .18 to .82 instead of .1 to .9.
    assert torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1] > 0.99
    assert found.max() - found.min() > 0.5


@pytest.mark.parametrize("state", STATES)
def test_a_panorama_is_the_same_in_every_state_of_torch(small_metric, state):
    image = torch.rand(3, 90, 180, generator=torch.Generator().manual_seed(0))
    expected = score_360(image, small_metric)
    with STATES[state]():
        found = score_360(image, small_metric)
    assert torch.equal(found.viewport_scores, expected.viewport_scores)
    assert torch.equal(found.quality_map, expected.quality_map)


def test_what_no_viewport_looks_at_has_no_quality():
    found = score_360(torch.rand(3, 60, 180), Mean(), placement=Placement(0, 1 / 6, 1, 2 / 3)).quality_map
    assert found.shape == (1, 12, 36)
    assert found[:, 2:-2].isfinite().all()
    assert found[:, [0, -1]].isnan().any()


def test_paths_pil_images_arrays_and_tensors_score_alike(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    path = tmp_path / "whole.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    scores = [score_360(image, Mean()).score for image in (path, Image.open(path), pixels, tensor, tensor / 255)]
    assert scores == pytest.approx([scores[0]] * 5, abs=1e-6)


def test_a_file_that_says_it_is_a_part_is_placed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 180, 3), dtype=np.uint8)
    sizes = {"full_width": 180, "full_height": 90, "width": 180, "height": 60, "left": 0, "top": 15}
    Image.fromarray(pixels).save(tmp_path / "part.webp", lossless=True, xmp=gpano(**sizes))
    found = score_360(tmp_path / "part.webp", Mean())
    assert {viewport.pitch for viewport in found.viewports} == {0}
    placed = score_360(pixels, Mean(), placement=Placement(0, 1 / 6, 1, 2 / 3))
    assert found.score == placed.score


@pytest.mark.parametrize("working_pixels", [0, 75 * 75])
def test_metrics_of_every_kind_look_through_the_viewports(working_pixels):
    """The scores are those that the metric gives the same viewports as tensors; 1e-5: another way of resizing."""
    image = torch.rand(3, 120, 240, generator=torch.Generator().manual_seed(0))
    sphere = Sphere.of_image(image, Placement(), 100.0)  # viewports of 91 px, which are reduced to the working size
    own = make_small_metric(working_pixels=working_pixels)
    for metric in (own, GuardedScore(own, own, margin=(-0.1, 0.1))):
        found = score_360(image, metric)
        views = torch.stack([sphere.view(viewport.yaw, viewport.pitch) for viewport in found.viewports])
        torch.testing.assert_close(found.viewport_scores, metric(views), rtol=0, atol=1e-5)
        assert found.quality_map.isfinite().all()
        assert found.defects is found.note is None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_runtime_gives_the_scores_of_torch_and_no_map(runtime):
    for package in PACKAGES[runtime]:
        pytest.importorskip(package)
    own = make_small_metric()
    image = torch.rand(3, 120, 240, generator=torch.Generator().manual_seed(0))
    found = score_360(image, CompiledScore(own, runtime))
    torch.testing.assert_close(found.viewport_scores, score_360(image, own).viewport_scores, rtol=0, atol=TOLERANCE)
    assert found.quality_map is None


class Telling(Mean):
    """Darkness is noise, and what is dark is no photograph."""

    defects = ("noise", "blur")

    def rate(self, views, maps=False, descriptors=False):
        ratings = super().rate(views, maps)
        notes = (NOT_A_PHOTOGRAPH if rating.score < 0.6 else None for rating in ratings)
        costs = ({"noise": 1 - rating.score, "blur": 0.0} for rating in ratings)
        return [one._replace(defects=cost, note=note) for one, cost, note in zip(ratings, costs, notes, strict=True)]


def test_defects_are_the_weighted_mean_of_the_viewports_and_a_note_is_what_all_have():
    brightness = (directions(90, 180)[2] * 0.4 + 0.5).float().expand(3, -1, -1)
    found = score_360(brightness, Telling())
    assert found.defects == {"noise": pytest.approx(1 - found.score), "blur": 0}
    assert found.note is None
    assert score_360(brightness * 0.5, Telling()).note == NOT_A_PHOTOGRAPH


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (torch.rand(3, 90, 180), {"fov": 80}, "fov: expected from 90 to 110 degrees, got 80"),
        (torch.rand(3, 90, 180), {"side": 32}, "side: expected at least 64 px, got 32"),
        (torch.rand(3, 90, 180), {"viewports": "all"}, "viewports: expected 'fixed' or 'entropy', got 'all'"),
        (torch.rand(1, 3, 90, 180), {}, r"image: expected one \(3, H, W\)"),
        (torch.rand(3, 90, 180) * 255, {}, "image: expected values in"),
        (torch.rand(3, 90, 180, device="meta"), {}, "image: expected values in .*on the device meta"),
        (torch.rand(3, 90, 120), {}, "expected an equirectangular picture of 2:1, got 120 x 90 px"),
        (torch.rand(3, 60, 120), {}, "expected viewports of at least 64 px, got 45 px for 100 degrees"),
        (np.zeros((90, 120), np.uint8), {}, "array of shape .*expected an equirectangular picture of 2:1"),
        (torch.rand(3, 36, 180), {"placement": Placement(0, 0.3, 1, 0.4)}, "whole viewport .* got a part of 360 x 72"),
        (torch.rand(3, 90, 90), {"placement": Placement()}, "twice as wide as high, got 90 x 90 px for 90 x 90 px"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(image, options, words):
    with pytest.raises(ValueError, match=words):
        score_360(image, Mean(), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fov": "wide"}, "fov: expected a number of degrees, got 'wide'"),
        ({"side": 100.5}, "side: expected an integer, got 100.5"),
        ({"side": None}, "side: expected an integer, got None"),
        ({"placement": (0, 0, 1, 1)}, "placement: expected a Placement, got tuple"),
    ],
)
def test_options_of_another_type_are_refused(options, words):
    with pytest.raises(TypeError, match=words):
        score_360(torch.rand(3, 90, 180), Mean(), **options)


def test_a_file_that_is_no_panorama_is_named(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "flat.png")
    with pytest.raises(ImageError, match=r"flat\.png.*expected an equirectangular picture of 2:1, got 40 x 30 px"):
        score_360(tmp_path / "flat.png", Mean())
    with pytest.raises(TypeError, match=r"metric: expected a QFMScore or another metric .*, got str"):
        score_360(torch.rand(3, 90, 180), "qfm-tiny-v2")
    with pytest.raises(TypeError, match=r"metric: expected a metric, got the class QFMScore; call it: QFMScore\(\)"):
        score_360(torch.rand(3, 90, 180), QFMScore)
    with pytest.raises(TypeError, match="expected a path"):
        score_360(b"bytes", Mean())


@pytest.mark.slow
@pytest.mark.parametrize("viewports", ["fixed", "entropy"])
def test_turning_a_panorama_about_its_axis_hardly_moves_its_score(metric, panorama, viewports):
    """24 angles, none a multiple of the 30 degrees between viewports; the limits are docs/panoramas.md's."""
    before = score_360(panorama, metric, viewports=viewports).score
    moved = [
        abs(score_360(turned(panorama, 360 / 25 * i), metric, viewports=viewports).score - before) for i in range(1, 25)
    ]
    assert np.mean(moved) <= 0.01
    assert max(moved) <= 0.03


@pytest.mark.slow
def test_damage_on_the_horizon_counts_more_than_at_a_pole(metric):
    """The same noise on the same part of the sphere; by the mean of four places on the horizon."""
    panorama = make_panorama(1008)  # half as wide all is blurred, and noise costs nothing
    before = score_360(panorama, metric).score
    horizon = [before - score_360(damaged(panorama, yaw, 0), metric).score for yaw in (0, 90, 180, 270)]
    poles = [before - score_360(damaged(panorama, 0, pitch), metric).score for pitch in (90, -90)]
    assert np.mean(horizon) > max(poles)
    assert np.mean(horizon) > 0.01
