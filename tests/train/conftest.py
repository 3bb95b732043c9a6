"""A small world to train in: pictures of 512 px, the brighter the better, a severity table, a network of 5 blocks."""

import pytest
import torch
from helpers.small_world import fresh_net, open_material, write_decoded, write_ladders

from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.material.stored import store
from qfm_metric.train.reference import read_pairs


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of summation, and so the last bits, depend on it
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The folder: decoded pictures, a severity table, rendered ladders."""
    folder = tmp_path_factory.mktemp("world")
    write_decoded(folder)
    write_ladders(folder)
    return folder


@pytest.fixture(scope="session")
def cells(world, tmp_path_factory):
    """What `cells` stores of the world and of `fresh_net`; most of its series are ladders."""
    folder = tmp_path_factory.mktemp("cells")
    store(fresh_net(), open_material(world), folder, 12, seed=1, workers=1)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of `fresh_net`."""
    path = tmp_path_factory.mktemp("weights") / "ours.safetensors"
    write_weights(fresh_net(), path)
    return path


@pytest.fixture(scope="session")
def pairs(cells):
    """Its series with a clean picture."""
    return read_pairs(fresh_net(), cells)
