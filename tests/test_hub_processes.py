"""The Hub over loopback, for what takes a process of its own: environment variables, other users, many at once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.published import REPO, commit_of

import qfm_metric
from qfm_metric.hub import load_weights

pytestmark = [
    pytest.mark.slow,
    # The client's own: its upload calls its HTTP library in a way that the latter calls old.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


def in_process(script, *arguments, **environment):
    """Run a script on the package that is tested; what the client reads when it is imported can be set."""
    known = {"PYTHONPATH": os.pathsep.join([str(Path(qfm_metric.__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        env=os.environ | known | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_offline_by_environment(published, manifest, cache):
    load_weights("tiny", cache_dir=cache)
    published.requests.clear()
    script = """
import json, sys
from pathlib import Path
from qfm_metric import WeightsError, weights
from qfm_metric.hub import load_weights
weights.manifest_path = lambda: Path(sys.argv[1])
ids = [load_weights(source, cache_dir=sys.argv[2]).id for source in ("tiny", "org/tiny@" + sys.argv[3])]
try:
    load_weights("tiny", cache_dir=sys.argv[2] + "-none")
except WeightsError as error:
    ids.append(str(error))
print(json.dumps(ids))
"""
    *ids, message = in_process(script, manifest, cache, commit_of(manifest), HF_HUB_OFFLINE="1")
    assert ids == ["tiny", "tiny"]
    assert "HF_HUB_OFFLINE is set" in message
    assert published.requests == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_first_loads_of_eight_processes_at_once(published, manifest, cache):
    script = """
import json, multiprocessing, sys
from pathlib import Path
import huggingface_hub
from huggingface_hub import hf_hub_download  # imported once, before the processes part
from qfm_metric import weights
from qfm_metric.hub import load_weights
weights.manifest_path = lambda: Path(sys.argv[1])
barrier = multiprocessing.get_context("fork").Barrier(8)
def load(_):
    barrier.wait(60)
    return load_weights("tiny", cache_dir=sys.argv[2]).sha256
with multiprocessing.get_context("fork").Pool(8) as pool:
    print(json.dumps(pool.map(load, range(8), chunksize=1)))
"""
    hashes = in_process(script, manifest, cache)
    assert hashes == [json.loads(manifest.read_text())["weights"]["tiny"]["sha256"]] * 8
    assert sum(path.startswith("/blobs/") for method, path, _ in published.requests if method == "GET") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_read_only_cache(published, manifest, cache):
    """As a user without rights, whoever runs the tests: root may write everywhere."""
    script = """
import json, os, sys
from pathlib import Path
from huggingface_hub import hf_hub_download
from qfm_metric import WeightsError, weights
from qfm_metric.hub import load_weights
weights.manifest_path = lambda: Path(sys.argv[1])
load_weights("tiny", cache_dir=sys.argv[3])  # imports all it takes while Python's own files can be read
if os.geteuid() == 0:
    os.seteuid(65534)
said = [load_weights(source, cache_dir=sys.argv[2]).id for source in ("tiny", "org/tiny")]
try:
    load_weights("tiny", cache_dir=sys.argv[2] + "/new")
except WeightsError as error:
    said.append(str(error))
print(json.dumps(said))
"""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders keep other users out
    try:
        for source in ("tiny", REPO):
            load_weights(source, cache_dir=folder)
        for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            path.chmod(0o555)
        *ids, message = in_process(script, manifest, folder, cache)
        assert ids == ["tiny", "tiny"]
        assert "no permission to write" in message
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)
