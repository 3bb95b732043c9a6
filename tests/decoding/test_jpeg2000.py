"""Depths of JPEG 2000: read right or refused."""

import imagecodecs
import numpy as np
import pytest
from helpers.pictures import FLOAT32, assert_close, tensor_of

from qfm_metric.images import ImageError, load_image


def write(path, bits, *shape):
    samples = np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint8 if bits <= 8 else np.uint16)
    samples.flat[:6] = [0] * 3 + [2**bits - 1] * 3  # a white pixel: with colours of 16 bits, Pillow makes it black
    encoded = imagecodecs.jpeg2k_encode(
        samples, level=0, reversible=True, bitspersample=bits, codecformat=path.suffix[1:]
    )
    path.write_bytes(encoded)
    return samples


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
@pytest.mark.parametrize(("bits", "bands"), [(8, ()), (8, (3,)), (10, ()), (12, ()), (14, ()), (16, ())])
def test_depths_that_pillow_decodes_right(tmp_path, name, bits, bands):
    samples = write(tmp_path / name, bits, 24, 40, *bands)
    tolerance = FLOAT32 if bits in (8, 16) else 1 / 2**bits  # Pillow puts zeros behind the bits there are
    assert_close(load_image(tmp_path / name), tensor_of(samples, 2**bits - 1), tolerance)


@pytest.mark.parametrize("name", ["a.jp2", "a.j2k"])
@pytest.mark.parametrize(("bits", "bands"), [(1, ()), (4, ()), (4, (3,)), (9, (3,)), (12, (3,)), (16, (3,))])
def test_depths_that_pillow_decodes_wrong_are_refused(tmp_path, name, bits, bands):
    write(tmp_path / name, bits, 24, 40, *bands)
    with pytest.raises(ImageError, match=f"got {bits} bits, which Pillow decodes wrong; export it as PNG"):
        load_image(tmp_path / name)
