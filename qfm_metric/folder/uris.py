"""Images that are not files of this machine: read and listed through pyarrow's file systems (S3, GCS, Azure, HDFS)."""

import functools
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..decoding.errors import ImageError
from ..decoding.suffixes import IMAGE_SUFFIXES


def is_uri(path: str) -> bool:
    """Whether this is `scheme://...`, no path of this machine."""
    return "://" in path


def read_image(at: str | bytes | None, filesystem: Any = None) -> bytes:
    """The encoded image at a path or URI; bytes are what they are.

    Raises:
        ImageError, OSError: it cannot be read.
    """
    if isinstance(at, bytes):
        return at
    if at is None:
        raise ImageError("expected a path or an encoded image, got null")
    if filesystem is not None:
        return _read(filesystem, at)
    if not is_uri(at):
        return _read_local(at)
    parts = urlsplit(at)
    if parts.scheme == "file":  # pyarrow takes no names that are not text
        return _read_local(unquote(parts.path, errors="surrogateescape"))
    folder, _, name = parts.path.rpartition("/")
    filesystem, inside = _folder(urlunsplit(parts._replace(path=folder or "/", fragment="")))
    return _read(filesystem, f"{inside.rstrip('/')}/{unquote(name)}")


def list_images(uri: str, recursive: bool) -> Iterator[str]:
    """A folder's images as URIs, in order of name; anything else as it is, also what does not exist.

    Folders end in names only: an object store's prefix `s3://bucket/photos` is one.

    Raises:
        OSError: the store does not answer.
        ValueError: pyarrow knows no such scheme.
    """
    from pyarrow import fs

    filesystem, root = fs.FileSystem.from_uri(uri)
    if filesystem.get_file_info(root).type != fs.FileType.Directory:
        yield uri
        return
    for info in sorted(filesystem.get_file_info(fs.FileSelector(root)), key=lambda info: info.base_name):
        parts = urlsplit(uri)  # a query holds settings of the file system
        inside = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(info.base_name)}"))
        if info.type == fs.FileType.Directory:
            if recursive:
                yield from list_images(inside, recursive)
        elif PurePosixPath(info.base_name).suffix.lower() in IMAGE_SUFFIXES:
            yield inside


@functools.lru_cache(1024)
def _folder(uri: str) -> tuple[Any, str]:
    """File system and path of a folder; asking S3 for the region of a bucket takes as long as reading an image."""
    from pyarrow import fs

    found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
    return found


def _read(filesystem: Any, path: str) -> bytes:
    with filesystem.open_input_stream(path, compression=None) as file:
        data: bytes = file.read()
    return data


def _read_local(path: str) -> bytes:
    with open(os.fsdecode(path), "rb") as file:
        return file.read()
