"""A small world to train in: pictures of 512 px, the brighter the better, a severity table, a network of 5 blocks."""

import pytest
import torch
from helpers.small_world import fresh_net, gather, levels, write_decoded


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of summation, and so the last bits, depend on it
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The folder: decoded pictures, and the material drawn from them."""
    folder = tmp_path_factory.mktemp("world")
    write_decoded(folder)
    gather(folder, fresh_net(), levels(), workers=1)
    return folder
