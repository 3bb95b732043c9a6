"""Running what documents print: Python blocks, and commands in shell blocks.

Every ```python block of a document runs, in one namespace, as a reader's session would. A comment `# <- text` behind a
print claims what it prints. What a block needs and a reader has (a pipeline, a file) is set up in an invisible block,
`<!-- invisible-code-block: python ... -->`. A block that cannot run here has `<!-- skip: next "why" -->` before it.

In ```bash blocks every command of ours is parsed by its own parser; with `<!-- run -->` before it the block runs, and a
block without a language behind it shows what is printed, `...` standing for any number of lines.

    python -m helpers.documents PAGE.md     # in an empty folder: writes what is printed now into the page
"""

import argparse
import contextlib
import difflib
import io
import re
import shutil
from pathlib import Path
from unittest import SkipTest

import skimage
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from helpers.commands import check_commands, run_commands

ROOT = Path(__file__).parents[2]
CLAIM = re.compile(r"# <- (.+)")
RUN = re.compile(r"<!-- run -->\s*\Z")
OUTPUT = re.compile(r"\s*\n```\n(.*?)\n```(?=\n|\Z)", re.DOTALL)
PROGRESS = re.compile(r"qfm-metric: [\d,]+ (of [\d,]+( or more)? )?pictures, .*")  # on a slow machine alone
PROMISE = re.compile(r"True|False")
INLINE = re.compile(r"`((?:qfm-metric|python) [^`]* -[^`]*)`")  # in a sentence, a command without options is a name


def lay_out(folder):
    """Write what the documents' readers have: photographs, under the names that the documents give them."""
    pictures = Path(skimage.__path__[0]) / "data"
    for name in ("photo.png", "b.png", "photos/good.png", "old/x.png", "new/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(pictures / "astronaut.png", folder / name)
    shutil.copy(pictures / "rocket.jpg", folder / "a.jpg")


def run_blocks(path):
    """Run a document's blocks in the current folder.

    Returns:
        How many Python blocks ran, and the reasons for which blocks did not run.

    Raises:
        AssertionError: a block printed something else than it claims, a command is not one that its parser takes, or a
            block is skipped without a reason.
    """

    def refuse(where, spans, claimed, printed):
        raise AssertionError(f"{where}: printed {printed}, claims {claimed}")

    return _run(path, refuse)


def rewrite_claims(path, skipped=False):
    """Run a document's blocks in the current folder, and put what they print now in the place of what they claim.

    Args:
        skipped: Blocks that are skipped elsewhere run, too.

    Returns:
        Pairs of what was claimed and what is printed, where they differ.

    Raises:
        ValueError: a block prints more or fewer lines than it claims, or True where it claims False: what the document
            says has to be looked at.
    """
    path, changes = Path(path), []

    def note(where, spans, claimed, printed):
        if len(spans) != len(printed) or [PROMISE.findall(x) for x in claimed] != [PROMISE.findall(x) for x in printed]:
            raise ValueError(f"{where}: expected lines like {claimed}, printed {printed}; look at what the page says")
        changes.extend(change for change in zip(spans, claimed, printed, strict=True) if change[1] != change[2])

    _run(path, note, skipped)
    text = path.read_text(encoding="utf-8")
    for (start, end), _, printed in sorted(changes, reverse=True):
        text = text[:start] + printed + text[end:]
    path.write_text(text, encoding="utf-8")
    return [(claimed, printed) for _, claimed, printed in changes]


def _run(path, differs, skipped=False):
    """Run all blocks; `differs` gets the place, spans in the text, claimed and printed lines of those that differ."""

    def run_python(example):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            PythonEvaluator()(example)
        got, claims = printed.getvalue().splitlines(), list(CLAIM.finditer(example.parsed))
        expected = [claim[1] for claim in claims]
        if claims and got != expected:
            start = example.region.start + example.parsed.offset
            spans = [(start + claim.start(1), start + claim.end(1)) for claim in claims]
            differs(f"{example.path}, line {example.line}", spans, expected, got)

    def run_shell(example):
        check_commands(example.parsed, ROOT)
        if not RUN.search(example.document.text[: example.region.start]):
            return
        printed = [line for line in run_commands(example.parsed).splitlines() if not PROGRESS.fullmatch(line)]
        output = OUTPUT.match(example.document.text, example.region.end)
        if output and (now := "\n".join(show(output[1].splitlines(), printed))) != output[1]:
            differs(f"{example.path}, line {example.line}", [output.span(1)], [output[1]], [now])

    parsers = [CodeBlockParser("python", run_python), CodeBlockParser("bash", run_shell)]
    document = Sybil([*parsers, *([] if skipped else [SkipParser()])], path=str(ROOT)).parse(Path(path))
    document.namespace["__name__"] = "__main__"
    ran, reasons = 0, []
    for example in document.examples():
        if isinstance(example.parsed, tuple) and example.parsed[0] != "end":
            where = f"{example.path}, line {example.line}"
            assert example.parsed[1], f'{where}: skipped without a reason; write <!-- skip: next "why" -->'
        try:
            example.evaluate()
            ran += example.region.evaluator is run_python
        except SkipTest as reason:
            reasons.append(str(reason))
    for command in INLINE.findall(document.text):
        check_commands(command, ROOT)
    return ran, reasons


def show(shown, printed):
    """The printed lines that are most like the shown ones, with as many between the same `...`.

    Raises:
        ValueError: fewer lines are printed than are shown.
    """
    parts = [list(part) for part in _split(shown)]
    starts = _place(parts, printed)
    lines = []
    for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
        lines += [*(["..."] if number else []), *printed[start : start + len(part)]]
    return lines


def _split(shown):
    part = []
    for line in shown:
        if line == "...":
            yield part
            part = []
        else:
            part.append(line)
    yield part


def _place(parts, printed):
    """Where each part begins in the printed lines: the first at their beginning, the last at their end."""
    if sum(map(len, parts)) > len(printed) or (len(parts) == 1 and len(parts[0]) != len(printed)):
        raise ValueError(f"expected to show {sum(map(len, parts))} of the printed lines, got {printed}")
    first, *inner, last = parts if len(parts) > 1 else [*parts, []]
    best = {len(first): (0.0, [0])}  # by the line where the next part may begin: how alike, and the places so far
    for part in inner:
        ends = {}
        for after, (alike, places) in best.items():
            for start in range(after, len(printed) - len(part) - len(last) + 1):
                score = alike + sum(map(_likeness, part, printed[start:]))
                if score > ends.get(start + len(part), (-1.0, []))[0]:
                    ends[start + len(part)] = (score, [*places, start])
        best = ends
    places = max(best.values(), key=lambda found: found[0])[1]
    return [*places, len(printed) - len(last)] if len(parts) > 1 else places


def _likeness(shown, printed):
    return difflib.SequenceMatcher(None, shown, printed, autojunk=False).ratio()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--skipped", action="store_true", help="run skipped blocks, too")
    args = parser.parse_args()
    lay_out(Path())
    for claimed, printed in rewrite_claims(args.page, args.skipped):
        print(f"{claimed}\n->\n{printed}")  # noqa: T201


if __name__ == "__main__":
    main()
