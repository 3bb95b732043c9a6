"""Commands that documents print: ours are parsed by their own parsers, and run where that is quick."""

import argparse
import io
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from helpers.processes import environment
from qfm_metric import cli
from qfm_metric.train.cli import parser as train_parser
from qfm_metric.train.recipe import read_recipe

PYTHON = re.compile(r"(.*/)?python3?")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
RUN_SECONDS = 600


class Parsed(Exception):  # noqa: N818  # nothing is wrong
    """Options were understood; raised in the place of what the command would do next."""


def check_commands(text, root):
    """Parse every command of ours in shell text.

    Returns:
        How many there are.

    Raises:
        AssertionError: options that its parser refuses, a script or a recipe that does not exist.
    """
    ours = [words for words in split_commands(text) if is_ours(words)]
    for words in ours:
        said, status = io.StringIO(), 0
        try:
            with redirect_stderr(said), redirect_stdout(said):
                parse(words, root)
        except SystemExit as ended:
            status = ended.code  # 0: --help
        assert status == 0, f"{shlex.join(words)}: {said.getvalue()}"
    return len(ours)


def run_commands(text):
    """Run shell text in the current folder, with this Python; returns what it printed, errors included."""
    env = environment()
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, f"{text}\nexit status {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def split_commands(text):
    """The words of each simple command, variables that the text itself sets put in."""
    known = {}
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for word in [*lexer, ";"]:
            if word.startswith("$") and word[1:] in known:
                words += shlex.split(known[word[1:]])
            elif word in (";", "&&", "||", "|", "(", ")"):
                if words and all(map(ASSIGNMENT.match, words)):
                    known |= dict(word.split("=", 1) for word in words)
                elif words:
                    yield normal(words)
                words = []
            else:
                words.append(word)


def normal(words):
    """Without variables set for the command alone, and with `torchrun`'s own options left out."""
    while ASSIGNMENT.match(words[0]):
        words = words[1:]
    return ["python", *words[words.index("-m") :]] if words[0] == "torchrun" else words


def is_ours(words):
    if words[0] == "qfm-metric":
        return True
    if not PYTHON.fullmatch(words[0]) or len(words) < 2:
        return False
    return words[1].startswith(("examples/", "benchmarks/")) or words[1:3][-1].split(".")[0] == "qfm_metric"


def parse(words, root):
    """Let a command parse its options, and stop it there."""
    words = words[: words.index(">")] if ">" in words else words
    if words[0] == "qfm-metric":
        stop_after_options(cli.main, words[1:])
    elif words[1].endswith(".py"):
        script = root / words[1]
        assert script.is_file(), f"{shlex.join(words)}: no {words[1]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[1:])
            patch.syspath_prepend(str(script.parent))
            stop_after_options(runpy.run_path, str(script), run_name="__main__")
    elif words[2] == "qfm_metric":
        stop_after_options(cli.main, words[3:])
    else:
        assert words[2] == "qfm_metric.train", f"{shlex.join(words)}: no such module"
        args = train_parser().parse_args(words[3:])
        if getattr(args, "recipe", None) and not args.recipe.endswith(".toml"):
            read_recipe(args.recipe, args.set)  # refuses unknown settings


def stop_after_options(command, *arguments, **options):
    """Call a command whose parser ends it as soon as it has understood its options.

    Raises:
        AssertionError: it ended without parsing any.
    """

    def stopping(method):
        def parse(parser, *args, **kwargs):
            method(parser, *args, **kwargs)
            raise Parsed

        return parse

    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse_args", "parse_intermixed_args"):
            patch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
        with pytest.raises(Parsed):
            command(*arguments, **options)
