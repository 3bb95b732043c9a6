"""Running what documents print: Python blocks, and commands in shell blocks.

Every ```python block of a document runs, in one namespace, as a reader's session would. A comment `# <- text` behind a
print claims what it prints. What a block needs and a reader has (a pipeline, a file) is set up in an invisible block,
`<!-- invisible-code-block: python ... -->`. A block that cannot run here has `<!-- skip: next "why" -->` before it.

In ```bash blocks every command of ours is parsed by its own parser; with `<!-- run -->` before it the block runs.
"""

import contextlib
import io
import re
from pathlib import Path
from unittest import SkipTest

from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from helpers.commands import check_commands, run_commands

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"<!-- run -->\s*\Z")
INLINE = re.compile(r"`((?:qfm-metric|python) [^`]* -[^`]*)`")  # in a sentence, a command without options is a name


def run_blocks(path):
    """Run a document's blocks in the current folder.

    Returns:
        How many Python blocks ran, and the reasons for which blocks did not run.

    Raises:
        AssertionError: a block printed something else than it claims, a command is not one that its parser takes, or a
            block is skipped without a reason.
    """
    parsers = [CodeBlockParser("python", _run_python), CodeBlockParser("bash", _check_shell), SkipParser()]
    document = Sybil(parsers, path=str(ROOT)).parse(Path(path))
    document.namespace["__name__"] = "__main__"
    ran, reasons = 0, []
    for example in document.examples():
        if isinstance(example.parsed, tuple) and example.parsed[0] != "end":
            where = f"{example.path}, line {example.line}"
            assert example.parsed[1], f'{where}: skipped without a reason; write <!-- skip: next "why" -->'
        try:
            example.evaluate()
            ran += example.region.evaluator is _run_python
        except SkipTest as reason:
            reasons.append(str(reason))
    for command in INLINE.findall(document.text):
        check_commands(command, ROOT)
    return ran, reasons


def _run_python(example):
    """Run a block; what it prints must be what it claims, if it claims something."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        PythonEvaluator()(example)
    got, expected = printed.getvalue().splitlines(), re.findall(r"# <- (.+)", example.parsed)
    assert not expected or got == expected, f"{example.path}, line {example.line}: printed {got}, claims {expected}"


def _check_shell(example):
    """Parse the block's commands, and run it if its document asks for that."""
    check_commands(example.parsed, ROOT)
    if RUN.search(example.document.text[: example.region.start]):
        run_commands(example.parsed)
