"""How files that this package wrote are known again: they alone are replaced by others of their kind."""

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

HEAD = 2**16  # bytes that are looked at
PAGE = b'<meta name="generator" content="qfm-metric">'
PLAN = re.compile(rb"decision,path,score,std,why,width,height,error,note,name(,group,group_rank)?\r?\n")
COMPARISON = re.compile(rb'A: [^\n]*(mean [\d.]+ of|nothing scored)|\{\s*"paired": ')
EXPORTS = {"onnx": re.compile(rb"\x08.\x12", re.DOTALL), "pt2": re.compile(rb"PK\x03\x04")}  # how they begin
CONFIG_KEY = "qfm_config"  # in the safetensors header's string metadata
WEIGHTS = re.compile(rb'.{8}\{"__metadata__":\{"%s":' % CONFIG_KEY.encode(), re.DOTALL)
MAP_VALUES = "qfm_metric quality map"  # a PNG's text of this name is the cells' values, as JSON
MAP_NAME = re.compile(r"-map(-\d+)?\.png$")
SETTINGS = {"backbone", "view_pixels", "queries"}  # of every `QFMConfig`, whatever its version


def is_page(path: Path) -> bool:
    """Whether a file is a page of ours."""
    return PAGE in head(path)


def is_plan(path: Path) -> bool:
    """Whether a file is a plan of `qfm-metric cull`, without columns of somebody else's."""
    return bool(PLAN.match(head(path)))


def is_map(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a map that `save_overlay` drew over a picture; what is not called so is not opened."""
    if not MAP_NAME.search(os.fsdecode(path)) or not os.path.isfile(path):  # a pipe would be waited for
        return False
    with suppress(OSError), open(path, "rb") as file:  # whoever reads it says what is wrong
        return b"tEXt%s\0" % MAP_VALUES.encode() in file.read(128)
    return False


def is_comparison(path: Path) -> bool:
    """Whether a file is the text or the JSON of a comparison."""
    return bool(COMPARISON.match(head(path)))


def is_export(form: str) -> Callable[[Path], bool]:
    """Whether a file is an exported metric, `onnx` or `pt2`, which names itself in its metadata."""

    def check(path: Path) -> bool:
        data = path.read_bytes()
        return bool(EXPORTS[form].match(data)) and b"qfm_metric" in data

    return check


def is_weights(path: Path) -> bool:
    """Whether a file holds weights of ours: safetensors with the config of a network in front."""
    return bool(WEIGHTS.match(head(path)))


def is_config(path: Path) -> bool:
    """Whether a file is the config of a network of ours, of any version."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= SETTINGS


def head(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)
