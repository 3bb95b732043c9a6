"""The teacher: nobody is predicted by a fit that saw his group; a member that has seen them narrows nothing."""

import numpy as np
import pytest
import torch
from helpers.small_world import fresh_net

from qfm_metric.train import teacher
from qfm_metric.train.datasets.table import DataError, Decoded, Row
from qfm_metric.train.material import to_tensor


def test_a_group_is_never_predicted_by_a_fit_that_saw_it():
    """Pairs of equal pictures with a random MOS per pair: whoever saw the one knows the other."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32).repeat(2, axis=0)
    mos = rng.uniform(0.2, 0.8, 60).astype(np.float32).repeat(2)
    groups = [f"pair {i // 2}" for i in range(120)]
    held_out, again = teacher.cross_fit(features, mos, groups, features)
    assert held_out.dtype == again.dtype == np.float32
    assert np.corrcoef(again, mos)[0, 1] > 0.7  # a fit on all has seen them
    # 60 independent pairs: chance alone stays below this (three standard deviations of a correlation).
    assert abs(np.corrcoef(held_out, mos)[0, 1]) < 3 / np.sqrt(60)
    leaky, _ = teacher.cross_fit(features, mos, [str(i) for i in range(120)], features)
    assert np.corrcoef(leaky, mos)[0, 1] > 0.5  # and here is what groups are for


def test_what_features_say_is_learned():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)).astype(np.float32)
    mos = (1 / (1 + np.exp(-features[:, 0] - 0.5 * features[:, 1]))).astype(np.float32)
    held_out, others = teacher.cross_fit(features[:150], mos[:150], [str(i) for i in range(150)], features[150:])
    assert held_out.shape == (150,)
    assert others.shape == (50,)
    assert np.corrcoef(held_out, mos[:150])[0, 1] > 0.9
    assert np.corrcoef(others, mos[150:])[0, 1] > 0.9


def test_features_are_signed_roots_of_means_spreads_and_a_layout():
    net, pictures = fresh_net(), np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    found = teacher.summarize(net, pictures, workers=1, grid=3)
    with torch.no_grad():
        whole = net.preprocess(to_tensor(pictures[1])[None])[:, :1]
        cells = net.cells(net.pyramid(whole))
    channels = cells.shape[1]
    assert found.shape == (3, channels * (2 + 9))
    mean, spread = found[1, :channels], found[1, channels : 2 * channels]
    expected = cells.mean((2, 3))[0].numpy()
    np.testing.assert_allclose(np.sign(mean) * mean**2, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(spread**2, cells.std((2, 3))[0].numpy(), rtol=1e-3, atol=1e-5)
    layout = found[1, 2 * channels :].reshape(channels, 3, 3)
    np.testing.assert_allclose((np.sign(layout) * layout**2).mean((1, 2)), expected, rtol=1e-2, atol=1e-3)


def member(tmp_path, number, text):
    path = tmp_path / f"{number}.csv"
    path.write_text("image,score\n" + text)
    return path


def parts(tmp_path, **errors):
    """Pictures of two splits, and a member that misses each by the given errors."""
    found = [(f"{split}{i}.png", split, error) for split, part in errors.items() for i, error in enumerate(part)]
    rows = [Row(name, 0.5, split=split) for name, split, _ in found]
    text = "".join(f"{name},{0.5 + error:.6f}\n" for name, _, error in found)
    return Decoded(rows, np.zeros((len(rows), 8, 8, 3), np.uint8)), [member(tmp_path, 0, text)]


def test_errors_elsewhere_are_compared_with_validation(tmp_path):
    errors = np.random.default_rng(0).standard_t(3, 400) / 50
    decoded, members = parts(tmp_path, train=1.3 * errors, val=errors)
    assert teacher.error_growth(decoded, members) == pytest.approx(1.3, rel=1e-3)


def test_a_part_that_the_member_has_seen_narrows_nothing(tmp_path):
    errors = np.random.default_rng(0).standard_t(3, 400) / 50
    decoded, members = parts(tmp_path, train=errors / 2, val=errors)
    assert teacher.error_growth(decoded, members) == 1
    assert teacher.error_growth(decoded, []) == 1


def test_a_member_that_knows_one_part_alone_is_refused(tmp_path):
    decoded, members = parts(tmp_path, val=[0.1, 0.2])
    with pytest.raises(DataError, match=r"0\.csv: expected pseudo-labels of pictures of train, got none"):
        teacher.error_growth(decoded, members)
