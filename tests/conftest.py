"""Shared fixtures: no test reaches the network; photographs come from scikit-image's wheel."""

import ipaddress
import os
import shutil
import socket
import sys
import tempfile

import pytest
import torch
from hub_server import Hub, free_port

from qfm_metric import QFMScore, load_image

# The real Hub client reads these when it is imported: no test reaches the real Hub, nor the cache and the token of
# whoever runs it. Nothing listens on the port until a test asks for `hub`.
assert "huggingface_hub" not in sys.modules
HUB_PORT = free_port()
for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[name]
os.environ |= {
    "HF_ENDPOINT": f"http://127.0.0.1:{HUB_PORT}",
    "HF_HOME": tempfile.mkdtemp(prefix="qfm-metric-hub-"),
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_XET": "1",  # its sockets are not Python's, so the guard below would not see them
}


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


@pytest.fixture(scope="session", autouse=True)
def hub_home():
    yield
    shutil.rmtree(os.environ["HF_HOME"])


@pytest.fixture
def hub():
    """An empty Hub on loopback, which the real client talks to."""
    server = Hub(HUB_PORT)
    server.start()
    yield server
    server.stop()


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
