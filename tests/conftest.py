"""Shared fixtures: no test reaches the network; photographs come from scikit-image's wheel."""

import ipaddress
import socket

import pytest
import torch

from qfm_metric import QFMScore, load_image


@pytest.fixture(scope="session", autouse=True)
def only_loopback():
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = socket.gethostbyname(address[0]) if address[0] == "localhost" else address[0]
            if not ipaddress.ip_address(host).is_loopback:
                raise OSError(f"a test tried to reach {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session")
def metric():
    return QFMScore()


@pytest.fixture(scope="session")
def photo_path():
    import skimage

    return f"{skimage.__path__[0]}/data/astronaut.png"


@pytest.fixture
def photo(photo_path):
    """A photograph, `(3, 512, 512)`."""
    return load_image(photo_path)


@pytest.fixture
def random_images():
    """`(3, 3, 96, 160)`: small, wide, a different one each."""
    return torch.rand(3, 3, 96, 160, generator=torch.Generator().manual_seed(0))
