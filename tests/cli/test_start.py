"""What a command imports before it has something to do: nobody waits seconds for help, or for a table that is there."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import environment

SLOW = {"torch", "timm", "huggingface_hub", "safetensors", "pyarrow", "tqdm"}
IMPORTED = "import sys; from qfm_metric.cli import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules)"
NO_TABLE = {"numpy", "PIL"}
WORDS = {
    "--help": NO_TABLE,
    "--version": NO_TABLE,
    "weights --help": NO_TABLE,
    "weights list": NO_TABLE,
    "weights path": NO_TABLE,
    "report --help": NO_TABLE,
    "report scores.csv": NO_TABLE,  # of pictures that are gone
    "compare --help": NO_TABLE,
    "compare scores.csv scores.csv": NO_TABLE,
    "cull --help": NO_TABLE,
    "cull scores.csv": NO_TABLE,
    "watch --help": NO_TABLE,
    "export --help": NO_TABLE,
    "clip.mp4 --help": NO_TABLE,
    "no.png --top 0": NO_TABLE,  # what makes no sense is refused at once
}


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = (f"{i}.jpg,{0.3 + i / 1000:.4f},,300,200,," for i in range(100))
    Path("scores.csv").write_text("\n".join(["path,score,std,width,height,error,note", *rows]) + "\n")


@pytest.mark.parametrize("words", WORDS)
def test_what_needs_no_network_imports_no_torch(words):
    command = [sys.executable, "-c", IMPORTED, *words.split()]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "qfm_metric.cli" in loaded, done.stderr
    assert not {name.partition(".")[0] for name in loaded} & (SLOW | WORDS[words])


def processor_seconds(*words):
    """Of a process, the least of some: what else runs adds, and takes nothing away."""
    found = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], env=environment(), capture_output=True, check=True, timeout=120)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


@pytest.mark.parametrize(
    "words", ["--help", "weights list", "report scores.csv", "compare scores.csv scores.csv", "cull scores.csv"]
)
def test_a_start_takes_less_than_twenty_empty_ones(words):
    """Measured: 4 to 8; numpy alone takes 9, torch 140. Clocks of busy machines vary."""
    assert processor_seconds("-m", "qfm_metric", *words.split()) < 20 * processor_seconds("-c", "pass")
