"""The undo file: what a run is about to move, written out to the disk before anything is, to be taken back.

JSON lines. The first says what kind of file it is and whether files are moved or linked; the others name a folder that
is made, or a file's place before and after. Paths are absolute. The file only grows, by whole lines; a last line that a
crash has cut off was about nothing that had happened.
"""

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..atomic import naming
from ..folder.journal import lock_file
from .move import sync_folder

KIND = "qfm-metric cull"


class UndoError(ValueError):
    """A file is no undo file, or cannot be used now; says why."""


@dataclass(frozen=True)
class Step:
    """One file's place before and after, absolute."""

    source: str
    target: str


class UndoFile:
    """An undo file, open and kept from other runs: `with UndoFile(path) as undo`.

    Attributes:
        steps: What was written down, from the first.
        folders: Folders that were made, from the first.
        link: Links are made, and nothing is moved.
    """

    def __init__(self, path: str | os.PathLike[str], *, link: bool | None = None) -> None:
        """Open the file and read it.

        Args:
            path: Of the file.
            link: Makes the file if there is none, for links or for moves; refuses one for the other. None: there must
                be a file, of whatever kind.

        Raises:
            UndoError: there is none, it is something else, or another run has it.
            OSError: it cannot be read or written.
        """
        self.path = os.fspath(path)
        try:
            with naming(path):
                self._file = open(path, "r+b" if link is None else "a+b")  # noqa: SIM115
        except OSError as error:
            if link is not None:
                raise
            found = "none: all may be back" if isinstance(error, FileNotFoundError) else error.strerror
            raise UndoError(f"{self.path}: expected an undo file, found {found}; check the path") from error
        try:
            if not lock_file(self._file):
                raise UndoError(f"{self.path}: another run is using it; wait for its end")
            self.steps: list[Step] = []
            self.folders: list[str] = []
            head = self._read()
            if head is None and link is None:
                raise UndoError(f"{self.path}: expected an undo file of qfm-metric cull, got an empty file")
            if head is None:
                head = {"kind": KIND, "link": link, "token": secrets.token_hex(4)}
                self._append([head])
                sync_folder(os.path.dirname(os.path.abspath(path)))
            self.link, self._token = bool(head["link"]), str(head["token"])
            if link is not None and link != self.link:
                was, now = ("linked", "moved") if self.link else ("moved", "linked")
                raise UndoError(
                    f"{self.path}: files were {was} by an earlier run, and cannot be {now} by this one; undo that first"
                )
        except BaseException:
            self._close()
            raise

    def part_in(self, folder: str) -> str:
        """What a copy is called in a folder until it is whole."""
        return os.path.join(folder, f".qfm-cull-{self._token}.part")

    def sweep(self) -> None:
        """Remove the parts of copies that a run was writing when it ended."""
        files = [path for step in self.steps for path in (step.source, step.target)]
        for folder in {os.path.dirname(path) for path in files}:
            with suppress(OSError):  # none is there, or a file stands where the folder should: no step is stopped by it
                os.unlink(self.part_in(folder))

    def write(self, steps: Iterable[Step]) -> None:
        """Write down what is about to happen; when this returns, it is on the disk."""
        known, made, lines = set(self.steps), set(self.folders), list[dict[str, Any]]()
        for step in steps:
            if step in known:
                continue
            for folder in _missing(os.path.dirname(step.target)):
                if folder not in made:
                    made.add(folder)
                    self.folders.append(folder)
                    lines.append({"folder": folder})
            self.steps.append(step)
            lines.append({"from": step.source, "to": step.target})
        self._append(lines)

    def delete(self) -> None:
        """Everything is taken back: the folders that were made go if they are empty, and the file itself."""
        for folder in reversed(self.folders):
            with suppress(OSError):  # somebody has put something there
                os.rmdir(folder)
        self._close()  # first, or Windows refuses
        os.unlink(self.path)

    def __enter__(self) -> "UndoFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        with naming(self.path):  # what a full disk did not take is tried once more
            self._file.close()

    def _append(self, lines: Iterable[dict[str, Any]]) -> None:
        with naming(self.path):
            self._file.seek(0, os.SEEK_END)
            self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())

    def _read(self) -> dict[str, Any] | None:
        """The first line; the others into `steps` and `folders`. What is cut off goes."""
        self._file.seek(0)
        head, end = None, 0
        for number, line in enumerate(self._file):
            if number and not line.endswith(b"\n"):
                break
            try:
                values = json.loads(line)
                if number == 0:
                    if values["kind"] != KIND or not {"link", "token"} <= values.keys():
                        raise KeyError("kind")
                    head = values
                elif "folder" in values:
                    self.folders.append(values["folder"])
                else:
                    self.steps.append(Step(values["from"], values["to"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UndoError(f"{self.path}: line {number + 1}: expected an undo file of qfm-metric cull") from error
            end += len(line)
        self._file.truncate(end)
        return head


def _missing(folder: str) -> list[str]:
    """Folders that have to be made for this one to be there, from the outermost."""
    missing: list[str] = []
    while not os.path.lexists(folder):
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    return missing
