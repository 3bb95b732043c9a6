"""The command `qfm-metric`: its first word chooses what runs, each in a module of its own.

Results go to standard output or into files, progress and messages to standard error. Exit status: 0 all is well, 1 some
picture failed or something cannot be written, 2 wrong usage, 3 a score is below `--fail-under`, 130 interrupted
or ended.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ..decoding.errors import lacks_memory
from ..decoding.suffixes import is_named_as_picture
from ..folder.cores import WorkersError
from .interrupts import ending_as_interrupt
from .parser import warn
from .streams import losing_messages, reopen_closed_streams, take_any_name, whole_output

# Modules of this package; any other first word is a path to score.
COMMANDS = ("compare", "cull", "export", "report", "watch", "weights")
_FILMS = "mp4 m4v mov mkv webm avi mts m2ts ts mpg mpeg wmv 3gp mxf"
FILMS = tuple(f".{suffix}" for suffix in _FILMS.split())
"""Suffixes of files that are taken as films."""
GONE = "the current folder is gone; go to one that is there"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    reopen_closed_streams()
    take_any_name()
    argv = sys.argv[1:] if argv is None else list(argv)
    name, rest = (argv[0], argv[1:]) if argv and argv[0] in COMMANDS else (_scorer(argv), argv)
    with losing_messages():
        if not _is_somewhere():  # torch ends the whole process there, when its libraries are first needed
            warn(GONE)
            return 1
        try:
            with ending_as_interrupt(), whole_output():
                return int(import_module(f".{name}", __name__).main(rest))
        except KeyboardInterrupt as interrupt:
            warn(f"interrupted{interrupt}")
            return 130
        except BrokenPipeError:  # the reader (head, less) has seen enough
            return 1
        except WorkersError as error:
            warn(str(error))
            return 1
        except (MemoryError, RuntimeError, ImportError) as error:
            if not lacks_memory(error):
                raise
            why = str(error).strip().partition("\n")[0]
            warn(f"too little memory is left ({why}); free some, or take fewer --workers")
            return 1
        except OSError as error:
            what = error.strerror or str(error)
            if error.filename is None and isinstance(error, FileNotFoundError):  # nothing that is written is missing
                warn(what if _is_somewhere() else GONE)
                return 1
            warn(f"cannot write {error.filename or 'standard output'}: {what}")
            return 1


def _scorer(argv: Sequence[str]) -> str:
    """What scores these paths: `video` films, `score` pictures; also those with films among them, as of `*`."""
    if not any(word.lower().endswith(FILMS) for word in argv):
        return "score"
    values = [word for before, word in zip(["", *argv], argv, strict=False) if not before.startswith("-")]
    return "score" if any(map(is_named_as_picture, values)) else "video"


def _is_somewhere() -> bool:
    """Whether the current folder is there: relative names lead nowhere else."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True
