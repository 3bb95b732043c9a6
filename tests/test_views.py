"""Views made in strips are those of the whole picture."""

import numpy as np
import pytest
import torch

from qfm_metric.images import to_unit
from qfm_metric.views import SMALL, preprocess_pixels, together


@pytest.mark.parametrize("shape", [(1200, 1000, 3), (1031, 2049, 4), (1500, 1501), (20, 60000, 3), (3001, 700, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_strips_change_no_bit(metric, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    assert pixels.shape[0] * pixels.shape[1] > SMALL
    whole = metric.net.distinct_views(metric.to_net(to_unit(pixels)[None]))
    assert torch.equal(preprocess_pixels(metric.net, pixels), whole)


def test_pictures_of_one_shape_share_a_pass_up_to_its_size():
    shapes = [(2, 2), (3, 2), (2, 2), (2, 2), (2, 2), (3, 2), (4, 4)]
    views = [torch.full((1, 1, 3, *shape), float(i)) for i, shape in enumerate(shapes)]
    passes = [(list(places), joined) for places, joined in together(iter(views), 3)]
    assert [places for places, _ in passes] == [[0, 2, 3], [1, 5], [4], [6]]
    for places, joined in passes:
        assert torch.equal(joined, torch.cat([views[place] for place in places]))
