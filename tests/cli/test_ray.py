"""`--engine ray` without a cluster: what cannot be had or asked is told, and no file is lost."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.mean import Mean
from helpers.pictures import grey
from helpers.processes import environment, handling

from qfm_metric.cli import main
from qfm_metric.cli.ray import ATTEMPTS

# Ray's own settings read those that it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`use_.*` is deprecated:DeprecationWarning")


@pytest.mark.parametrize(
    ("failing", "error", "says"),
    [
        ("ray.init", ConnectionError("Could not find any running Ray instance"), "can be reached or started (Could"),
        ("ray.init", ValueError("Invalid address format: nonsense"), "can be reached or started (Invalid address"),
        ("ray.data.from_arrow", None, "the Ray cluster failed (ValueError: lost)"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_told_in_one_line(failing, error, says, tmp_path, monkeypatch, capsys):
    import ray.data

    def fail(*arguments, **options):
        raise error or ray.exceptions.RayError("in a worker\nValueError: lost\n")

    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    monkeypatch.setattr(ray, "is_initialized", lambda: failing != "ray.init")
    monkeypatch.setattr(failing, fail)
    assert main([grey(tmp_path / "a.png"), "--engine", "ray", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("failing", ["cluster", "table"])
def test_what_a_file_holds_stays_if_nothing_can_be_scored(failing, tmp_path, monkeypatch, capsys):
    import ray

    def fail(**options):
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    rows, table = tmp_path / "rows.csv", tmp_path / "table.parquet"
    pq.write_table(pa.table({"name": ["a.png"]}), table)
    assert main([grey(tmp_path / "a.png"), "--quiet", "--csv", "-o", str(rows)]) == 0
    before = rows.read_bytes()
    given = [grey(tmp_path / "a.png")] if failing == "cluster" else [str(table)]
    with suppress(SystemExit):  # wrong usage
        main([*given, "--engine", "ray", "--quiet", "--csv", "-o", str(rows)])
    assert {"cluster": "no Ray cluster", "table": "expected a column 'path'"}[failing] in capsys.readouterr().err
    assert rows.read_bytes() == before


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_given_up(tiny_files):
    """After two attempts, not Ray's twenty: 14 seconds with these settings, where those would take more than 40."""
    command = ["-m", "qfm_metric", "x.png", "--engine", "ray", "--quiet", "--weights", str(tiny_files[0])]
    quick = {"RAY_gcs_rpc_server_connect_timeout_s": "1", "RAY_py_gcs_connect_timeout_s": "1"}
    env = {**environment(), "RAY_ADDRESS": "127.0.0.1:1", **quick}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.count("Timed out while waiting for GCS") == int(ATTEMPTS)
    assert "no Ray cluster can be reached or started (Failed to connect" in done.stderr.splitlines()[-1]


def test_a_signal_ends_a_run_on_a_cluster_as_any_other(tmp_path, monkeypatch, capsys):
    import ray

    def init(**options):
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does

    def lost(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not reached")

    monkeypatch.setattr("qfm_metric.cli.metric.QFMScore", Mean())
    for name, instead in {"is_initialized": lambda: False, "init": init, "shutdown": lambda: None}.items():
        monkeypatch.setattr(ray, name, instead)
    monkeypatch.setattr("ray.data.from_arrow", lost)
    with handling(signal.SIGTERM, signal.SIG_DFL):
        assert main([grey(tmp_path / "a.png"), "--engine", "ray", "--quiet"]) == 130
    assert "interrupted; the rows so far are written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--column", "a"], "--column: expected --engine ray"),
        (["--engine", "ray", "--num-gpus", "0.5"], "--device cuda"),
        (["--engine", "ray", "gone.parquet"], "gone.parquet"),
        (["--engine", "ray", "nowhere://a"], "nowhere"),
    ],
)
def test_command_refuses(options, message, tiny_files, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["x.png", *options, "--weights", str(tiny_files[0])])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
