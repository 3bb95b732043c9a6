"""TID2013's types: the contract, the levels' PSNR, and what else their definitions say in closed form."""

import itertools

import numpy as np
import pytest
from PIL import Image

from qfm_metric.train.distortions import distort
from qfm_metric.train.distortions.coding import damage_jpeg, denoise, in_blocks
from qfm_metric.train.distortions.tid import PSNRS, TID
from qfm_metric.train.distortions.type import psnr, reach

# Levelled by PSNR, with a strength that can be as fine as need be.
FINE = (1, 2, 3, 4, 5, 6, 8, 9, 11, 19, 20, 21, 23, 24)
# Levelled by PSNR as near as whole numbers allow: of grey values, qualities, damaged bytes and colours.
COARSE = (7, 10, 12, 13, 22)
FLAT = np.full((96, 128, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def pixels(photo_path):
    with Image.open(photo_path) as image:
        return np.array(image.convert("RGB"))[100:196, 150:278]


def tid(pixels, number, level, seed=1):
    return distort(pixels, "TID2013", number, level, seed)


@pytest.fixture(scope="module")
def rungs(pixels):
    return {number: [tid(pixels, number, level) for level in range(1, 6)] for number in TID}


@pytest.mark.parametrize("number", TID)
def test_every_type_and_level(pixels, rungs, number):
    kept = pixels.copy()
    for level, rung in enumerate(rungs[number], 1):
        assert rung.shape == pixels.shape
        assert rung.dtype == np.uint8
        assert rung.flags.writeable
        assert not np.array_equal(rung, pixels)
        assert np.array_equal(rung, tid(pixels, number, level))
    assert np.array_equal(pixels, kept)


@pytest.mark.parametrize("number", FINE)
def test_levels_have_their_psnr(pixels, rungs, number):
    assert [psnr(rung, pixels) for rung in rungs[number]] == pytest.approx(PSNRS, abs=0.3)


@pytest.mark.parametrize("number", COARSE)
def test_levels_come_near_their_psnr(pixels, rungs, number):
    reached = [psnr(rung, pixels) for rung in rungs[number]]
    assert reached == pytest.approx(PSNRS, abs=1.6)
    assert all(after < before for before, after in itertools.pairwise(reached))


def test_every_type_levelled_by_psnr_is_checked():
    assert {number for number, distortion in TID.items() if distortion.parameters == PSNRS} == {*FINE, *COARSE}


@pytest.mark.parametrize("number", [14, 16, 18])
def test_the_others_fall_with_the_level(pixels, rungs, number):
    reached = [psnr(rung, pixels) for rung in rungs[number]]
    assert all(after < before for before, after in itertools.pairwise(reached))


def test_white_noise_is_white_and_of_the_right_spread():
    flat = np.full((200, 200, 3), 128, np.uint8)
    noise = tid(flat, 1, 3).astype(float) - 128
    assert noise.std() == pytest.approx(255 * 10 ** (-27 / 20), rel=0.04)  # 0.3 dB
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_spectra_of_correlated_and_high_frequency_noise():
    def neighbours(number):
        noise = tid(FLAT, number, 3).astype(float) - 128
        return np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]

    assert neighbours(3) == pytest.approx(np.exp(-1 / 4), abs=0.05)  # a Gaussian of sigma 1, correlated with itself
    assert neighbours(5) < -0.05


def test_chroma_noise_is_mostly_chroma():
    noise = tid(FLAT, 2, 3).astype(float) - 128
    luminance = noise @ [0.298936, 0.587043, 0.114021]
    assert luminance.std() < 0.35 * noise.std()


def test_masked_noise_spares_what_is_flat(pixels):
    half = pixels.copy()
    half[:, :64] = 128
    noise = tid(half, 4, 4).astype(float) - half
    assert noise[:, :56].std() < 0.3 * noise[:, 72:].std()


def test_impulses_are_black_or_white(pixels, rungs):
    for rung in rungs[6]:
        changed = rung != pixels
        assert set(np.unique(rung[changed])) <= {0, 255}


def test_quantisation_leaves_equal_steps(rungs):
    values = np.unique(rungs[7][4]).astype(int)
    assert len(values) <= 5
    assert np.ptp(np.diff(values)[:-1]) <= 1


def test_blocks_are_as_many_as_said_and_ever_weaker(pixels):
    for level, blocks in enumerate((2, 4, 8, 16, 32), 1):
        off = tid(np.full((384, 512, 3), 128, np.uint8), 15, level).astype(float) - 128
        touched = np.any(off != 0, axis=2)
        assert 0 < touched.sum() <= blocks * 32 * 32
        # Where blocks do not overlap, 200 / blocks away from their mean; rounding adds under a grey level a channel.
        assert np.median(np.linalg.norm(off[touched], axis=1)) == pytest.approx(200 / blocks, rel=0.1, abs=0.9)


def test_mean_shift_adds_a_constant_up_or_down():
    ramp = np.repeat(np.arange(80, 170, dtype=np.uint8)[None, :, None], 3, axis=2)
    shifts = set()
    for seed in range(8):
        shifted = [tid(ramp, 16, level, seed).astype(int) - ramp for level in range(1, 6)]
        assert [abs(int(shift.flat[0])) for shift in shifted] == [8, 15, 30, 45, 60]
        assert all(np.ptp(shift) == 0 for shift in shifted)
        shifts.add(np.sign(shifted[0].flat[0]))
    assert shifts == {-1, 1}


def test_contrast_falls_rises_falls_rises_falls(pixels, rungs):
    ratios = [rung.std() / pixels.std() for rung in rungs[17]]
    assert ratios[0] == pytest.approx(0.8, abs=0.02)
    assert ratios[2] == pytest.approx(0.6, abs=0.02)
    assert ratios[4] == pytest.approx(0.4, abs=0.02)
    assert 1 < ratios[1] < ratios[3]


def test_saturation_scales_colour_differences_and_keeps_luminance(pixels):
    soft = (64 + pixels / 4).astype(np.uint8)  # so that nothing is clipped
    faded = tid(soft, 18, 1)
    weights = np.array([65.481, 128.553, 24.966]) / 219
    np.testing.assert_allclose(faded @ weights, soft @ weights, atol=1)
    difference = (soft[..., 0].astype(float) - soft @ weights) * 0.4
    np.testing.assert_allclose(faded[..., 0] - faded @ weights, difference, atol=1.5)


def test_chromatic_aberration_moves_red_most_and_blue_not(pixels):
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    apart = tid(edge, 23, 5)[32].astype(float)
    position = [np.interp(127.5, apart[:, channel], np.arange(64)) for channel in range(3)]
    assert position[2] == pytest.approx(31.5, abs=0.1)
    assert position[0] - position[2] == pytest.approx(2 * (position[1] - position[2]), abs=0.3)


def test_damaged_files_decode_and_obey(pixels):
    assert np.array_equal(
        damage_jpeg(pixels, np.random.default_rng(0), lambda received: False),
        damage_jpeg(pixels, np.random.default_rng(9), lambda received: False),
    )  # nothing is acceptable, so nothing is damaged
    damaged = damage_jpeg(pixels, np.random.default_rng(0), lambda received: psnr(received, pixels) > 25)
    assert 25 < psnr(damaged, pixels) < 30


def test_block_dct_is_undone_and_knows_its_frequencies():
    values = np.random.default_rng(0).random((33, 47, 3), np.float32)
    for offset in ((0, 0), (3, 5)):
        np.testing.assert_allclose(in_blocks(values, lambda blocks: blocks, *offset), values, atol=1e-5)

    def mean_only(blocks):
        kept = np.zeros_like(blocks)
        kept[:, :, 0, :, 0] = blocks[:, :, 0, :, 0]
        return kept

    averaged = in_blocks(values, mean_only)
    np.testing.assert_allclose(averaged[:8, :8], np.broadcast_to(values[:8, :8].mean((0, 1)), (8, 8, 3)), atol=1e-5)


def test_denoising_removes_noise_and_leaves_a_clean_ramp():
    ramp = np.repeat(np.linspace(0.2, 0.8, 128, dtype=np.float32)[None, :, None], 3, axis=2).repeat(96, axis=0)
    noise = 0.05 * np.random.default_rng(0).standard_normal(ramp.shape, np.float32)
    assert np.abs(denoise(ramp + noise, 0.05) - ramp).mean() < 0.35 * np.abs(noise).mean()
    np.testing.assert_allclose(denoise(ramp, 1e-4), ramp, atol=1e-3)


def test_reach_takes_the_nearest_end_where_the_target_is_out_of_reach():
    clean = np.full((8, 8, 3), 100, np.uint8)

    def brighter(strength):
        return (clean + np.float32(strength)).round().astype(np.uint8)

    assert reach(clean, brighter, 10.0, 1, 20).flat[0] == 120
    assert reach(clean, brighter, 60.0, 1, 20).flat[0] == 101
    assert reach(clean, brighter, 28.13, 1, 100).flat[0] == 110  # 20 log10(255 / 10)
