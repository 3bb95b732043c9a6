"""What went wrong, and what to do about it, for exceptions that are not ours."""

import errno

import PIL
from PIL import Image

from .errors import lacks_memory

A_FOLDER = "expected a file, got a folder; pass the files in it, one at a time"
_ADVICE = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ELOOP: "its symbolic links lead to each other: mend or remove them",
    errno.ENAMETOOLONG: "shorten the path",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EINVAL: "check the path",
    errno.EMFILE: "close files, or raise the limit: ulimit -n",
    errno.ENFILE: "close files of other programs, or raise the limit of the system",
    errno.ENOMEM: "free some memory",
    errno.EIO: "the disk or the network could not deliver it: check them, or use a copy",
    errno.ESTALE: "the network drive has changed: mount it again",
    errno.ETIMEDOUT: "the network drive does not answer: try again",
    errno.ENODEV: "the drive is gone: mount it again",
    errno.ENXIO: "the drive is gone: mount it again",
}
CLOSED = "expected an open PIL image, got a closed one; pass it inside its `with` block, or load() it there"
_DAMAGED = "copy, download or export it again"


def explain(error: Exception) -> str:
    """What was expected, what came, and what to do."""
    if isinstance(error, SystemError) and isinstance(error.__cause__, Exception):
        return explain(error.__cause__)  # what reading the file raised inside of Pillow's decoder of JPEG 2000
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return (
            f"{error} Expected no more, because small files that unpack to huge pictures exhaust the memory; "
            f"if you trust this one, raise PIL.Image.MAX_IMAGE_PIXELS (now {Image.MAX_IMAGE_PIXELS}), or --max-pixels"
        )
    if isinstance(error, PIL.UnidentifiedImageError):
        return (
            f"expected a picture, got nothing that Pillow {PIL.__version__} recognises; "
            "unless its beginning is damaged, export it as PNG or JPEG"
        )
    if isinstance(error, IsADirectoryError):
        return A_FOLDER
    if isinstance(error, FileNotFoundError):
        return "expected a file, found none; check the path"
    if isinstance(error, OSError) and error.errno is not None:
        advice = _ADVICE.get(error.errno, "try again, or use a copy")
        return f"expected a file that can be read, got: {error.strerror}; {advice}"
    if lacks_memory(error):
        return (
            "expected a picture that fits in memory, but too little is left for it; free some, or export it "
            "smaller (or again, if it is not of the size that you expect)"
        )
    return _explain_decoder(error)


def _explain_decoder(error: Exception) -> str:
    text = str(error)
    if "closed image" in text or "closed file" in text:
        return CLOSED
    if isinstance(error, UnicodeEncodeError):
        return "expected a path, got one that no file here can have; check how it was read"
    if "null byte" in text or "null character" in text:
        return "expected a path, got one with a null character; check how it was read"
    if "decoder" in text and "not available" in text:
        return (
            f"expected a format that this Pillow ({PIL.__version__}) decodes, got one that it was built without "
            f"({text}); pip install --force-reinstall pillow"
        )
    if isinstance(error, NotImplementedError) or "cannot find loader" in text or "nsupported" in text:
        return f"expected what Pillow {PIL.__version__} decodes, got another kind ({text}); export it as PNG or JPEG"
    if "decoder error -2" in text:  # whatever libtiff cannot do
        text = f"{text} (it is damaged, or compressed in a way that this Pillow was built without)"
    return (
        f"expected a whole picture, but decoding stopped with {type(error).__name__}: {text}; "
        f"it is probably truncated or damaged: {_DAMAGED}"
    )
