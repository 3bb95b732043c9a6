"""Running the Python blocks of a document."""

import ast
import contextlib
import io
import re


def run_blocks(text, name):
    """Run a document's Python blocks in one namespace, as a reader's session would; returns how many claims it makes.

    A comment `# <- text` behind a print claims what it prints.
    """
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    namespace, claims = {}, 0
    for block in blocks:
        expected = re.findall(r"# <- (.+)", block)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.parse(block), name, "exec"), namespace)
        got = printed.getvalue().splitlines()
        assert got == expected, f"{name}: printed {got}, claims {expected}"
        claims += len(expected)
    return claims
