"""The one way to write a whole file: it appears under its name when it is complete, or not at all."""

import errno
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

FOREIGN = "it is there and is no file of this kind; name another, or delete it first"
LONGEST_NAME = 255  # bytes, on nearly every file system


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever cannot be written inside, the error names `path`: a full disk names no file, a part has another name."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def check_replaceable(path: str | os.PathLike[str], is_ours: Callable[[Path], bool] | None = None) -> None:
    """Refuse what `whole_file` cannot, or must not, take the place of.

    Args:
        path: Where to.
        is_ours: Whether a file is of the kind that would be written (`qfm_metric.own_files`); None: any may be there.

    Raises:
        OSError: a folder, a pipe or a device has that name, or a file that is neither empty nor ours.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(None, "expected the name of a file to write, got a folder, a pipe or a device", os.fspath(path))
    if is_ours and os.path.exists(path) and os.path.getsize(path) and not is_ours(Path(path)):
        raise FileExistsError(errno.EEXIST, FOREIGN, os.fspath(path))


def check_writable(*paths: str | os.PathLike[str] | None) -> None:
    """Refuse now what `whole_file` could not write in the end, when much would be lost.

    Args:
        paths: Where to; None: nothing is written.

    Raises:
        OSError: as `whole_file` does before its block begins.
    """
    for path in paths:
        if path is not None:
            check_replaceable(path)
            part = _part_of(path)
            with naming(path):
                open(part, "wb").close()
                os.remove(part)


def _part_of(path: str | os.PathLike[str]) -> str:
    """What a file is called until it is whole: absolute, as the current folder may be another one by then.

    Each time another name, because processes of different machines and containers have the same number, and threads
    share one. The longest names are cut, or there would be files that can be there and not be written.
    """
    folder, name = os.path.split(os.path.realpath(path))
    behind = f".{secrets.token_hex(4)}.part"
    kept = os.fsencode(name)[: LONGEST_NAME - len(behind)].decode("utf-8", "ignore").encode()
    return os.path.join(folder, os.fsdecode(kept) + behind)


class _Part(io.FileIO):
    """What cannot be written into it is an error that names the file it will be."""

    def __init__(self, part: str, path: str | os.PathLike[str]) -> None:
        super().__init__(part, "x")
        self._path = path

    def write(self, data: Any) -> int:
        with naming(self._path):
            return super().write(data)


@contextmanager
def whole_file(
    path: str | os.PathLike[str], mode: str = "w", *, is_ours: Callable[[Path], bool] | None = None, **options: Any
) -> Iterator[IO[Any]]:
    """A file that takes the place of `path` when the block ends, and vanishes if the block raises.

    Args:
        path: Where to. Nobody ever sees half of it there; what was there before stays until then, and its permissions
            stay. Of a symbolic link, the file it leads to; the link stays.
        mode: "w" for text in UTF-8, "wb" for bytes.
        is_ours: See `check_replaceable`.
        options: Of `open`, for text: `newline`, `errors`.

    Raises:
        OSError: it cannot be written there (a missing folder, a folder or a device of that name, a file that is not
            ours), known before the block begins; or the disk is full. The error names `path`.
    """
    check_replaceable(path, is_ours)
    if "b" not in mode:
        options = {"encoding": "utf-8", **options}
    place, part = os.path.realpath(path), _part_of(path)
    try:
        with naming(path):
            bytes_file = io.BufferedWriter(_Part(part, path))
        with suppress(OSError):  # there is none yet, or this system has no modes
            shutil.copymode(place, part)
        file: IO[Any] = bytes_file if "b" in mode else io.TextIOWrapper(bytes_file, **options)
        try:
            yield file
            with naming(path):
                file.close()  # a full disk may show only now
        finally:
            with suppress(OSError):
                file.close()
        with naming(path):
            os.replace(part, place)
    except BaseException:
        with suppress(OSError):
            os.remove(part)
        raise
