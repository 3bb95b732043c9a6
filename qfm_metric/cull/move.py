"""Moving one file: never over another, and at every moment whole in at least one of the two places.

Within a file system a file has one name after the other, in one step. To another file system it is copied, written out
to the disk and compared before the source goes.
"""

import ctypes
import errno
import filecmp
import os
import shutil
import sys
from contextlib import suppress

NO_REPLACE = 1  # RENAME_NOREPLACE of Linux
EXCLUSIVE = 4  # RENAME_EXCL of macOS
HERE = -100  # AT_FDCWD of Linux
NOT_KNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # the system or the file system lacks it


class ChangedError(OSError):
    """A file changed while it was copied; the copy is gone, the file is where it was."""


def move(source: str, target: str, part: str) -> None:
    """Move a file.

    Args:
        source: A regular file.
        target: Where to; its folder is there.
        part: Beside `target`: what a copy is called until it is whole. What lies there is replaced.

    Raises:
        FileExistsError: something is at `target`.
        OSError: it cannot be moved. The source is where it was.
    """
    try:
        rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target, part)
        os.unlink(source)


def rename(source: str, target: str) -> None:
    """Rename a file in one step, unless something has the name.

    Where neither the system nor the file system has such a step, the file gets the second name and then loses the
    first: one that has both is in the middle of this.

    Raises:
        FileExistsError: something is at `target`.
        OSError: it cannot be renamed; EXDEV: to another file system.
    """
    if sys.platform == "win32":
        os.rename(source, target)  # never replaces there
        return
    number = _rename_exclusively(os.fsencode(source), os.fsencode(target))
    if number in NOT_KNOWN:
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)
    elif number:
        raise OSError(number, os.strerror(number), source, None, target)


def _rename_exclusively(source: bytes, target: bytes) -> int:
    """The error's number; 0: renamed."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(source, target, EXCLUSIVE)
        else:
            failed = library.renameat2(HERE, source, HERE, target, NO_REPLACE)
    except AttributeError:
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def copy(source: str, target: str, part: str) -> None:
    """Copy a file with its times, mode and extended attributes; when this returns, the copy is on the disk and equal.

    Raises:
        FileExistsError: something is at `target`.
        ChangedError: the source changed meanwhile.
        OSError: it cannot be copied.
    """
    before = os.stat(source)
    try:
        with suppress(FileNotFoundError):
            os.unlink(part)
        with open(source, "rb") as reader, open(part, "xb") as writer:
            shutil.copyfileobj(reader, writer, 2**20)
            writer.flush()
            os.fsync(writer.fileno())
        shutil.copystat(source, part)
        equal = filecmp.cmp(source, part, shallow=False)
        after = os.stat(source)
        if not equal or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ChangedError(None, "it changed while it was copied; try again", source)
        rename(part, target)
        sync_folder(os.path.dirname(target))
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def sync_folder(folder: str) -> None:
    """Write a folder's names out to the disk, where the system can."""
    if sys.platform == "win32":
        return
    number = os.open(folder or os.curdir, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def are_copies(a: str, b: str) -> bool:
    """Whether one of two files can go: two regular files of equal content, or two names of one; links are neither."""
    if any(os.path.islink(file) or not os.path.isfile(file) for file in (a, b)):
        return False
    if os.path.samefile(a, b):  # a folder on the way may be a link: then there is one name alone
        return os.stat(a).st_nlink > 1 and os.path.realpath(a) != os.path.realpath(b)
    return filecmp.cmp(a, b, shallow=False)
