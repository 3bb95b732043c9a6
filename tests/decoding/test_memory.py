"""How much memory a picture takes while it is decoded, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

SIDE = 4000
PIXELS = SIDE * SIDE
# docs/folders.md says about 10 bytes a pixel. 1 more for what Python and the decoder keep of a first picture.
BOUND = 11

MEASURE = """
import json, re, sys
from pathlib import Path
from qfm_metric.images import open_image, read_pixels

def resident(which):
    return int(re.search(which + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def read(path):
    with open_image(path) as image:
        return read_pixels(image).shape

found = {}
for small, large in zip(sys.argv[1::2], sys.argv[2::2]):
    read(small)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    before = resident("VmRSS")
    shape = read(large)
    found[large] = {"shape": shape, "bytes": resident("VmHWM") - before}
print(json.dumps(found))
"""


def write(folder, name, side):
    """Rows that differ, so that a decoder has something to do, and that take little room in a file."""
    ramp = np.broadcast_to(np.arange(side, dtype=np.uint32)[:, None] * 7, (side, side))
    path = folder / f"{side}-{name}"
    if name.startswith("float"):
        options = {"compression": "deflate", "rowsperstrip": side} if "strip" in name else {}
        tifffile.imwrite(path, (ramp % 256 / 255).astype(np.float32), photometric="minisblack", **options)
    elif name.startswith("planes"):
        deep = np.broadcast_to((ramp % 65536).astype(np.uint16), (3, side, side))
        tifffile.imwrite(path, deep, photometric="rgb", planarconfig="separate")
    elif name.startswith("deep"):
        Image.fromarray((ramp % 65536).astype(np.uint16)).save(path)
    else:
        mode = {"alpha.png": "RGBA", "palette.png": "P"}.get(name, "RGB")
        Image.fromarray((ramp % 256).astype(np.uint8)).convert(mode).save(path)
    return path


NAMES = ["float.tif", "float-strip.tif", "planes.tif", "deep.png", "deep.tif"]
NAMES += ["rgb.png", "rgb.jpg", "alpha.png", "palette.png"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be read and reset on Linux only")
def test_a_picture_takes_no_more_memory_than_is_documented(tmp_path):
    paths = [str(write(tmp_path, name, side)) for name in NAMES for side in (64, SIDE)]
    found = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True).stdout
    for path, each in json.loads(found).items():
        assert each["shape"][:2] == [SIDE, SIDE]
        assert each["bytes"] / PIXELS < BOUND, path
