"""What all commands have in common: threads, and errors without a traceback."""

import sys

import pytest
import torch

from qfm_metric.train import cli

COMMANDS = [
    "prepare table none.csv --out OUT",
    "ladders --data OUT --severity none.csv --out OUT/ladders",
    "teacher quick --data OUT --out OUT.csv",
    "label --data OUT --out OUT/member.csv",
    "pretrain quick --data OUT --severity none.csv --ladders OUT --out OUT",
    "student quick --data OUT --out OUT",
    "photograph --data OUT --out OUT.safetensors",
    "fit none.csv -o OUT.safetensors",
    "probe quick --data OUT",
    "evaluate none.csv",
    "severity none.csv --data OUT",
    "defects none.csv --data OUT",
    "gate none",
    "export none.safetensors",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_threads_are_set_and_what_is_missing_is_named(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", *words.split(), "--threads", "3"])
    assert cli.main() == 1
    assert torch.get_num_threads() == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "none" in said or "OUT" in said
    torch.set_num_threads(1)
