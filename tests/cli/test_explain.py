"""`--explain` and `--require`: columns of what is wrong, and a gate with a line per offender."""

import csv
import json
import re
from dataclasses import asdict

import pytest
import torch
from helpers.pictures import grey
from helpers.published import TINY

from qfm_metric import QFMScore, score_files
from qfm_metric.cli import main
from qfm_metric.config import QFMConfig
from qfm_metric.defects import NAMES
from qfm_metric.folder.row import DEFECT_COLUMNS, columns_with
from qfm_metric.model import QFMNet
from qfm_metric.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights that name all defects; noise costs .5 of any picture, all else next to nothing."""
    torch.manual_seed(0)
    config = QFMConfig(**TINY, native_views=1, view_pixels=96 * 96, mean_tokens=True, uncertainty=True, defects=NAMES)
    net = QFMNet(config)
    with torch.no_grad():
        net.defects[-1].weight.mul_(0.01)
        net.defects[-1].bias.fill_(-5)
        net.defects[-1].bias[2 * NAMES.index("noise")] = 0
    path = tmp_path_factory.mktemp("weights") / "naming.safetensors"
    save_weights(path, asdict(config), net.state_dict(), torch.float32)
    return str(path)


def save(*names):
    for i, name in enumerate(names):
        grey(name, 60 + 40 * i)
    return list(names)


def test_rows_say_what_is_wrong(weights, capsys):
    paths = save("a.png", "b.png")
    assert main([*paths, "--weights", weights, "--explain", "--csv", "-o", "rows.csv", "--quiet"]) == 0
    with open("rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == columns_with(explain=True)
    metric = QFMScore.from_pretrained(weights)
    for row, found in zip(rows, score_files(paths, metric, explain=True), strict=True):
        assert row["top_defect"] == found.extra["top_defect"] == "noise"
        for name in NAMES:
            assert float(row[name]) == pytest.approx(found.extra[name], abs=1e-4)
        assert float(row["noise"]) == pytest.approx(0.5, abs=0.1)


def test_lines_for_people_name_what_is_wrong_and_leave_the_costs_to_tables(weights, capsys):
    path = save("a.png")[0]
    for asked in (["--explain"], ["--require", "noise < .9"]):
        assert main([path, "--weights", weights, *asked, "--quiet"]) == 0
        score, *rest = capsys.readouterr().out.rstrip("\n").split("\t")
        assert 0 < float(score) < 1
        assert rest == ["noise", path]


def test_without_explain_there_is_nothing_of_it(weights):
    found = next(score_files(save("a.png"), QFMScore.from_pretrained(weights)))
    assert not DEFECT_COLUMNS.keys() & found.extra.keys()


def test_what_is_required_is_looked_for_and_each_offender_gets_a_line(weights, capsys):
    paths = save("a.png", "b.png")
    assert main([*paths, "--weights", weights, "--require", "noise < .2, blur < .2", "--jsonl", "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert [json.loads(line)["top_defect"] for line in out.splitlines() if "path" in line] == ["noise", "noise"]
    lines = err.splitlines()
    assert [line.split(":")[1].strip() for line in lines[:2]] == paths
    assert all("expected noise < 0.2, got 0." in line and "blur" not in line for line in lines[:2])
    assert lines[2] == "qfm-metric: 2 of 2 are not as required"
    assert main([*paths, "--weights", weights, "--require", "noise < .9, score >= 0", "--quiet"]) == 0


def test_rows_that_are_there_already_count_when_a_run_goes_on(weights, capsys):
    save("a.png")
    words = ["--weights", weights, "--require", "noise < .2", "--jsonl", "-o", "rows.jsonl", "--quiet"]
    assert main(["a.png", *words]) == 3
    capsys.readouterr()
    assert main(["a.png", *words, "--resume"]) == 3
    assert "a.png: expected noise < 0.2" in capsys.readouterr().err


def test_what_is_not_known_is_not_as_required(weights, capsys):
    paths = save("a.png")
    assert main([*paths, "--weights", weights, "--require", "jpeg_quality > 50", "--quiet"]) == 3
    assert "a.png: expected jpeg_quality > 50, which is not known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--require", "nois < .2"], "--require: expected one of"),
        (["--require", "noise"], "--require: expected conditions such as"),
        (["--explain", "--tile", "64"], "--explain: expected whole pictures, got --tile"),
        (["--explain"], "--explain: expected weights that name defects"),
        (["--require", "noise < .2"], "--require: expected weights that name defects"),
        (["--require", "noise < .2", "--tile", "64"], "--require: expected whole pictures, got --tile"),
        (["--require", "group_rank < 2", "--tile", "64"], "--require: expected whole pictures, got --tile"),
    ],
)
def test_wrong_uses_are_refused(words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*save("a.png"), *words, "--weights", "qfm-robust-v1", "--quiet"])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_metric_that_names_nothing_is_refused_in_python():
    with pytest.raises(ValueError, match="explain: expected a metric that names defects"):
        score_files([], QFMScore(QFMNet(QFMConfig(**TINY))), explain=True)
    with pytest.raises(ValueError, match="explain: expected whole pictures, got tiles"):
        score_files([], explain=True, tile=64)


def test_a_comparison_says_which_defects_differ(tmp_path, capsys):
    for name, costs in (("a", {"noise": 0.05, "dark": 0.1}), ("b", {"noise": 0.31, "dark": 0.105})):
        lines = ["path,score,noise,dark", *(f"{i}.png,0.5,{costs['noise']},{costs['dark']}" for i in range(3))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    assert main(["compare", "a.csv", "b.csv", "--html", "page.html"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^noise +costs 0\.050 in A, 0\.310 in B$", out, re.M)
    assert "dark" not in out  # too little to tell
    assert "costs 0.050 in A, 0.310 in B" in (tmp_path / "page.html").read_text()


def test_folders_are_compared_with_what_is_wrong(weights, tmp_path, capsys):
    for folder in ("f", "g"):
        grey(tmp_path / folder / "x.png")
    assert main(["compare", "f", "g", "--weights", weights]) == 0
    assert "costs" not in capsys.readouterr().out  # the same pictures
