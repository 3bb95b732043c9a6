"""One thread a process, said before torch starts its threads; somebody else's process is left as it is."""

import os
import subprocess
import sys

import pytest
from helpers.pictures import grey
from helpers.processes import environment

from qfm_metric.cli import main

SHOW = "import os, torch; print(torch.get_num_threads(), *map(os.environ.get, ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY')))"
COMMAND = "import sys; from qfm_metric.cli import main; main(sys.argv[1:])"


def shown(script, *arguments):
    """The last line that a Python says which was told nothing of threads."""
    clean = {name: value for name, value in environment().items() if not name.startswith(("OMP_", "MKL_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=clean, capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("options", "threads"), [([], "1"), (["--threads", "2"], "2")])
def test_a_command_has_one_thread_unless_told_otherwise(folded_weights, options, threads):
    script = f"{COMMAND}\n{SHOW}"
    assert shown(script, grey("a.png"), "--weights", str(folded_weights), *options) == f"{threads} {threads} passive"


def test_a_score_leaves_the_threads_of_its_process_alone(folded_weights):
    score = (
        "import os, torch\nbefore = torch.get_num_threads(), dict(os.environ)\n"
        "from qfm_metric import QFMScore, score_files\n"
        "metric = QFMScore.from_pretrained('{weights}')\nmetric(torch.rand(1, 3, 64, 64))\n"
        "list(score_files(['a.png'], metric))\n"
        "print((torch.get_num_threads(), dict(os.environ)) == before)"
    )
    grey("a.png")
    assert shown(score.format(weights=folded_weights)) == "True"


def test_a_command_called_where_torch_is_there_changes_no_environment(mean):
    before = dict(os.environ)
    assert main([grey("a.png")]) == 0
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("count", "options", "workers"),
    [(127, [], 1), (128, [], 3), (128, ["--workers", "2"], 2), (2, ["--workers", "2"], 2)],
)
def test_a_folder_that_is_worth_it_gets_a_worker_for_each_core(mean, monkeypatch, count, options, workers):
    asked = []

    def score_files(paths, metric, **options):
        asked.append((len(list(paths)), options["workers"], options["threads"]))
        return []

    monkeypatch.setattr("qfm_metric.cli.run.score_files", score_files)
    monkeypatch.setattr("qfm_metric.folder.cores.allowed_workers", lambda: 3)
    os.mkdir("f")
    for i in range(count):
        open(f"f/{i}.png", "w").close()
    main([*options, "f"])
    assert asked == [(count, workers, 1)]
