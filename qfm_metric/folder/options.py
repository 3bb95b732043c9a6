"""What may be asked of `score_files`, checked before anything slow is imported or loaded."""

from numbers import Integral

ROOM = 2**27  # pixels that are decoded at the same time, over all workers
BATCH_SIZE = 64  # pictures that are gathered for batches, on a GPU
SMALLEST_TILE = 64
RUNTIMES = {"openvino": "OpenVINO", "onnx": "ONNX Runtime"}  # beside torch, the fastest first, and what they are called
DTYPES = ("float32", "bfloat16", "float16")  # torch's names
PROJECTIONS = ("auto", "flat", "equirect")
"""`auto`: equirectangular where a file's GPano properties say so, and it can be placed on the sphere; else flat."""
LEAST = {
    "workers": 1,
    "threads": 1,
    "batch_size": 1,
    "room": 1,
    "tile": SMALLEST_TILE,
    "keep_best": 1,
}  # values of options
MOST = {"workers": 1024, "threads": 1024}  # with some thousands the system or OpenMP ends the process


def check_options(**options: int | None) -> None:
    """Refuse what is no whole number, and numbers out of the range that makes sense; None is left out.

    Raises:
        TypeError, ValueError: names the option.
    """
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name}: expected an integer, got {value!r}")
        if value < LEAST[name]:
            raise ValueError(f"{name}: expected at least {LEAST[name]}, got {value}")
        if value > MOST.get(name, value):
            raise ValueError(f"{name}: expected at most {MOST[name]}, got {value}")


def check_projection(projection: str, tile: int | None = None) -> None:
    """Refuse what is no projection, and tiles of a sphere.

    Raises:
        ValueError: names the option.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"projection: expected one of {', '.join(PROJECTIONS)}, got {projection!r}")
    if projection == "equirect" and tile is not None:
        raise ValueError("projection: expected flat pictures with tiles, got equirect; leave one of the two out")


def check_runtime(runtime: str, dtype: str, tile: int | None = None, maps: str | None = None) -> None:
    """Refuse what a metric that runs in `runtime` cannot do, and options that contradict each other.

    Args:
        dtype: One of `DTYPES`.

    Raises:
        ValueError: maps of tiles; maps or another precision from a metric that has only scores. Names the option.
    """
    if maps is not None and tile is not None:
        raise ValueError("maps: expected whole pictures, got tiles; leave one of the two out")
    if runtime != "torch" and maps is not None:
        raise ValueError(f"maps: expected a metric that runs in torch, got one in {runtime}; leave one of the two out")
    if runtime != "torch" and dtype != "float32":
        raise ValueError(f"dtype: expected float32 of a metric that runs in {runtime}, got {dtype}")
