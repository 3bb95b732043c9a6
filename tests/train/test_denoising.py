"""The denoiser of the ablation: it takes noise out of tokens, from their scale, and learns nothing but that."""

import pytest
import torch
from helpers.small_world import CONFIG

from qfm_metric.score import QFMScore
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.denoising import DenoisedNet, Denoiser
from qfm_metric.weights import WeightsError


@pytest.fixture(scope="module")
def trained():
    """A denoiser of tokens that lie on a line, and the line."""
    torch.manual_seed(0)
    denoiser, line = Denoiser(8), torch.nn.functional.normalize(torch.randn(8), dim=0)
    optimizer = torch.optim.Adam(denoiser.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        denoiser.loss(torch.randn(32, 6, 1) * line).backward()
        optimizer.step()
    return denoiser, line


def test_an_untrained_denoiser_changes_nothing():
    tokens = torch.randn(2, 5, 8)
    torch.testing.assert_close(Denoiser(8)(tokens), tokens)


def test_noise_is_taken_out_and_what_tokens_say_stays(trained):
    denoiser, line = trained
    torch.manual_seed(1)
    clean = torch.randn(200, 6, 1) * line
    scale = clean.square().mean(dim=(1, 2), keepdim=True).sqrt()
    noisy = clean + denoiser.level * scale * torch.randn_like(clean)
    with torch.no_grad():
        found = denoiser(noisy)
    # Seven of eight directions are noise alone; a perfect denoiser would leave an eighth of the squared error.
    assert (found - clean).square().mean() < 0.4 * (noisy - clean).square().mean()
    assert torch.nn.functional.cosine_similarity(found.flatten(1), clean.flatten(1)).mean() > 0.97


def test_the_scale_of_tokens_does_not_matter(trained):
    denoiser, _ = trained
    tokens = torch.randn(3, 6, 8)
    with torch.no_grad():
        torch.testing.assert_close(denoiser(50 * tokens), 50 * denoiser(tokens), rtol=1e-4, atol=1e-3)  # float32


def test_a_pictures_tokens_do_not_depend_on_the_batch(trained):
    denoiser, _ = trained
    tokens = torch.randn(3, 6, 8)
    with torch.no_grad():
        torch.testing.assert_close(denoiser(tokens)[1:2], denoiser(tokens[1:2]))


def test_only_the_denoiser_learns_from_its_loss():
    torch.manual_seed(0)
    net = DenoisedNet(CONFIG)
    cells = torch.rand(2, len(net.standardize.mean), 3, 3)
    net.denoising_loss(cells, 2).backward()
    learning = {name.split(".")[0] for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert learning == {"denoiser"}


def test_scores_come_through_the_denoiser():
    torch.manual_seed(0)
    net, images = DenoisedNet(CONFIG).eval(), torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        before = net(images)
        net.denoiser.layers[-1].bias.add_(torch.randn(CONFIG.dim))
        after = net(images)
        assert not torch.equal(before, after)
        # One place at which tokens are made serves scores and all else that is known of a picture.
        torch.testing.assert_close(net.judge_views(net.distinct_views(images)).scores, after)


def test_no_weights_with_a_denoiser_are_loaded(tmp_path):
    write_weights(DenoisedNet(CONFIG), tmp_path / "denoised.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected denoiser\."):
        QFMScore.from_pretrained(tmp_path / "denoised.safetensors")
