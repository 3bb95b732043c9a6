"""What a user installs: built in a copy of the tree, installed elsewhere, run with declared dependencies only."""

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import qfm_metric
from qfm_metric import load_image
from qfm_metric.html.document import SCRIPTS
from qfm_metric.weights import LICENCE, read_manifest

ROOT = Path(__file__).parent.parent
RUNTIME = {"torch", "timm", "pillow", "numpy", "huggingface-hub", "safetensors"}
MEGABYTE = 1_000_000
pytestmark = pytest.mark.slow

# Runs the installed copy as if nothing but the declared dependencies were there, and no network.
ALONE = """
import importlib.machinery, json, sys

folder, picture, absent = sys.argv[1], sys.argv[2], set(json.loads(sys.argv[3]))

class Declared(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[:] = [Declared if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]

def offline(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        raise OSError(f"the package used the network: {event} {arguments[1:]}")

sys.addaudithook(offline)

import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    assert "used the network" in str(error), error
else:
    raise SystemExit("sockets are open: this test shows nothing")
try:
    import pytest
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("undeclared packages can be imported: this test shows nothing")

import qfm_metric
from qfm_metric.weights import read_manifest
from PIL import Image

score = qfm_metric.QFMScore()
value = score(qfm_metric.load_image(Image.open(picture))).item()
about = {"file": qfm_metric.__file__, "score": value, "signature": score.signature}
print(json.dumps(about | {"manifest": read_manifest()}))
"""


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(source, destination, *kinds):
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "-o", str(destination), str(source))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what git tracks or would track: nothing is written to the checkout, nothing ignored slips in."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    copy = tmp_path_factory.mktemp("tree")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # not deleted since
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
    """The paths of (sdist, wheel), both built from the tree."""
    destination = tmp_path_factory.mktemp("dist")
    build(tree, destination, "--sdist", "--wheel")
    (sdist,), (wheel,) = destination.glob("*.tar.gz"), destination.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder that the wheel is installed in; no other package is."""
    folder = tmp_path_factory.mktemp("installed")
    offline = ["--no-index", "--no-deps", "--disable-pip-version-check", "--no-compile"]
    run(sys.executable, "-m", "pip", "install", *offline, "--target", str(folder), str(built[1]))
    return folder


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def metadata_of(wheel):
    (name,) = (name for name in files_of(wheel) if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(name))


def declared():
    """Canonical names of the runtime packages and of everything that they require here, by their own metadata."""
    found, waiting = set(), set(RUNTIME)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # required on another platform, or by an extra
            continue
        requirements = [Requirement(line) for line in lines]
        here = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
        waiting |= {canonicalize_name(requirement.name) for requirement in here} - found
    return found


def undeclared_modules():
    """Top-level names that are importable here, but that no declared package brings."""
    known = declared()
    tops = metadata.packages_distributions().items()
    return {top for top, names in tops if top != "qfm_metric" and known.isdisjoint(map(canonicalize_name, names))}


def test_wheel_is_the_package_and_nothing_else(tree, built):
    wheel = built[1]
    info = f"qfm_metric-{qfm_metric.__version__}.dist-info"
    files = {path.relative_to(tree).as_posix() for path in (tree / "qfm_metric").rglob("*") if path.is_file()}
    package = files - {"qfm_metric/train/recipes/lite0-384.csv"}  # pseudo-labels: for a checkout alone
    about = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert files_of(wheel) == package | about | {"qfm_metric/weights_manifest.json"}
    own = [entry for entry in read_manifest()["weights"].values() if entry["file"] and entry["licence"] == LICENCE]
    weights = {f"qfm_metric/_weights/{entry['file']}" for entry in own}
    assets = ("page.html", "page.css", *(f"{script}.js" for script in SCRIPTS))
    page = {f"qfm_metric/html/page/{asset}" for asset in assets}
    assert files_of(wheel) >= weights | page | {"qfm_metric/py.typed", "qfm_metric/cli/__init__.py"}
    assert "qfm_metric/train/__init__.py" in files_of(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 29 * MEGABYTE  # four networks of 7


def test_metadata(built):
    about = metadata_of(built[1])
    assert (about["Name"], about["Version"]) == ("qfm-metric", qfm_metric.__version__)
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.10"
    requirements = [Requirement(line) for line in about.get_all("Requires-Dist")]
    plain = [requirement for requirement in requirements if requirement.marker is None]
    assert sorted(canonicalize_name(requirement.name) for requirement in plain) == sorted(RUNTIME)
    assert all("extra ==" in str(requirement.marker) for requirement in requirements if requirement.marker is not None)
    # An upper pin on torch would hold back the project that a metric is installed into.
    assert {one.operator for requirement in requirements for one in requirement.specifier} == {">="}
    extras = {"heic", "train", "openvino", "examples", "torchmetrics", "pyiqa", "lightning", "hf", "gradio", "onnx"}
    extras |= {"fast", "parquet", "ray", "restoration", "serve", "video"}
    assert set(about.get_all("Provides-Extra")) == extras


def test_wheel_from_the_sdist_is_the_same(built, tmp_path):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            assert member.name.startswith(f"qfm_metric-{qfm_metric.__version__}/")
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = tmp_path / f"qfm_metric-{qfm_metric.__version__}"
    assert json.loads((source / "weights_manifest.json").read_text(encoding="utf-8")) == read_manifest()
    assert not (source / ".ci").exists()
    build(source, tmp_path / "again", "--wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert files_of(again) == files_of(wheel)


def test_undeclared_modules_are_told_apart():
    assert {"pytest", "scipy", "skimage", "matplotlib", "build"} & set(
        metadata.packages_distributions()
    ) <= undeclared_modules()
    assert undeclared_modules().isdisjoint({"torch", "torchvision", "yaml", "PIL", "numpy", "safetensors", "sympy"})


def test_installed_copy_scores_alone_and_offline(installed, metric, tmp_path):
    picture = tmp_path / "gradient.png"
    Image.radial_gradient("L").resize((160, 96)).save(picture)
    arguments = [str(installed), str(picture), json.dumps(sorted(undeclared_modules()))]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    output = json.loads(run(sys.executable, "-c", ALONE, *arguments, env=environment, cwd=tmp_path))
    assert Path(output["file"]).is_relative_to(installed)
    # The same code on the same machine; another process may share sums out to other threads.
    assert output["score"] == pytest.approx(metric(load_image(picture)).item(), abs=1e-6)
    assert output["signature"] == metric.signature
    assert output["manifest"] == json.loads((ROOT / "weights_manifest.json").read_text(encoding="utf-8"))
    assert output["manifest"] == read_manifest()


def test_installed_script_is_the_command(installed, metric, tmp_path):
    Image.radial_gradient("L").resize((160, 96)).save(tmp_path / "gradient.png")
    (script,) = (installed / "bin").glob("qfm-metric*")
    environment = os.environ | {"PYTHONPATH": str(installed)}
    output = json.loads(run(str(script), "gradient.png", "--json", env=environment, cwd=tmp_path))
    assert output["signature"] == metric.signature
    (row,) = output["results"]
    # Half of the last decimal that is printed, and what other threads may make of a sum.
    assert row["score"] == pytest.approx(metric(load_image(tmp_path / "gradient.png")).item(), abs=0.6e-4)
    assert (row["path"], row["error"]) == ("gradient.png", None)
