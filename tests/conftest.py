"""Shared fixtures: no test reaches the network; photographs come from scikit-image's wheel."""

import ipaddress
import json
import os
import shutil
import socket
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from helpers.hub_server import Hub, free_port
from helpers.published import TINY, promise, publish_tiny
from helpers.small import make_small_metric

from qfm_metric import QFMScore, load_image, weights
from qfm_metric.config import QFMConfig
from qfm_metric.export import export_onnx
from qfm_metric.model import QFMNet
from qfm_metric.weights import read_manifest, save_weights

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
    "XDG_CACHE_HOME": tempfile.mkdtemp(prefix="qfm-metric-cache-"),
    "HF_HUB_DISABLE_XET": "1",  # its sockets are not Python's, so the guard below would not see them
}
weights.IN_CHECKOUT = Path(__file__).parents[1] / "weights"  # that of these tests, if another package is tested


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


def pytest_unconfigure():
    """In each process of a run, also the one that only hands tests out."""
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        shutil.rmtree(os.environ[name], ignore_errors=True)


@pytest.fixture
def hub():
    """An empty Hub on loopback, which the real client talks to."""
    server = Hub(HUB_PORT)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory):
    """Weights files of two small networks that differ."""
    paths = [tmp_path_factory.mktemp("tiny") / f"{seed}.safetensors" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_weights(path, TINY, QFMNet(QFMConfig(**TINY)).state_dict(), torch.float32)
    return paths


@pytest.fixture(scope="session")
def folded_weights(tmp_path_factory):
    """A weights file of a small network with a backbone of ours."""
    torch.manual_seed(0)
    config = QFMConfig(backbone="efficientnet_lite0", view_pixels=64 * 64, dim=32, heads=2)
    path = tmp_path_factory.mktemp("folded") / "folded.safetensors"
    save_weights(path, asdict(config), QFMNet(config).state_dict(), torch.float32)
    return path


@pytest.fixture
def manifest(tmp_path, tiny_files, monkeypatch):
    """A manifest file that knows `tiny` (not in the package, not yet on the Hub); the package reads it."""
    original = read_manifest()
    entry = original["weights"][original["default"]] | {"file": None, "repo_id": None}
    content = {**original, "weights": {**original["weights"], "tiny": entry | promise(tiny_files[0])}}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    monkeypatch.setattr(weights, "manifest_path", lambda: path)
    read_manifest.cache_clear()
    yield path
    read_manifest.cache_clear()


@pytest.fixture
def published(hub, manifest, tiny_files, monkeypatch):
    """The Hub, holding `tiny`; the manifest names the commit."""
    publish_tiny(manifest, tiny_files[0], monkeypatch)
    hub.requests.clear()
    return hub


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def metric():
    return QFMScore()


@pytest.fixture
def small_metric():
    """A metric of random weights that is fast; views of 64 x 64 px, of the whole and of the centre."""
    return make_small_metric()


@pytest.fixture(scope="session")
def released_onnx(metric, tmp_path_factory):
    """The default weights as an ONNX file; tracing them takes most of a minute, so it is done once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "released.onnx"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            export_onnx(metric, path)
    return path


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
