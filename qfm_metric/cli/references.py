"""`qfm-metric compare --reference`: rows of what pictures keep of the quality of the ones that they were made from."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..folder.row import Row
from ..images import ImageError, load_image

if TYPE_CHECKING:
    from ..reference import QFMReference


class References:
    """Pictures of a folder, to which others are compared by name.

    Args:
        compare: What compares.
        folder: Of the references.
        paths: The files in it.
    """

    def __init__(self, compare: "QFMReference", folder: str, paths: Sequence[str]) -> None:
        self.compare, self.folder = compare, folder
        self._paths = {_name(path, folder): path for path in paths}

    def rows(self, folder: str, paths: Sequence[str]) -> Iterator[Row]:
        """A row for each of the files in another folder; one that has no reference of its name has an error."""
        from ..compare import match_names

        partner = dict(match_names([_name(path, folder) for path in paths], list(self._paths)))
        for path in paths:
            reference = partner.get(_name(path, folder))
            if reference is None:
                yield Row(path, error=f"no picture of this name in {self.folder}")
            else:
                yield self._row(path, self._paths[reference])

    def _row(self, path: str, reference: str) -> Row:
        try:
            image = load_image(path)
            with torch.inference_mode():
                kept = self.compare(image, load_image(reference)).item()
        except (ImageError, ValueError) as error:
            return Row(path, error=str(error))
        return Row(path, kept, width=image.shape[2], height=image.shape[1])


def _name(path: str, folder: str) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
