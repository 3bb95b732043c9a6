"""Names of files as rows, tables and terminals hold them: one need be no text, and may hold what a terminal obeys."""

import re
from typing import Any

UNPRINTABLE = "backslashreplace"  # a file name need not be text in any encoding; no such name may end the run
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")  # a byte of a name that is no text, as `UNPRINTABLE` writes it
NAMES_OF_FILES = ("path", "map")


def key(path: str) -> bytes:
    """A path as a file of rows tells it apart."""
    return path.encode("utf-8", UNPRINTABLE)


def name_bytes(path: str) -> bytes:
    """A path's own bytes, in every locale; tables may have names, too, that no file here can have."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return key(path)


def unescaped(values: dict[str, Any]) -> dict[str, Any]:
    """What a table holds, with the names that are no text as they were before they were escaped by `key`."""
    names = {name: values[name] for name in NAMES_OF_FILES if isinstance(values.get(name), str)}
    return values | {name: ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), found) for name, found in names.items()}


def printable(text: str) -> str:
    """Text with its control characters as escapes: a name can hold line breaks, and what a terminal obeys."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def shown(text: str) -> str:
    """A path as text that can be printed: bytes of it that are no text, and control characters, become escapes."""
    return printable(name_bytes(text).decode("utf-8", "backslashreplace"))
