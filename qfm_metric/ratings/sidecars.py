"""Sidecars: XMP files beside pictures, which are never touched; what others wrote into one stays."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..atomic import check_replaceable, whole_file
from ..decoding.suffixes import IMAGE_SUFFIXES
from ..folder.row import DECIMALS, Row
from ..xmp_packet import EMPTY, OURS, XMP, Name, PacketError, change_properties, read_properties
from .stars import LABELS, STARS, stars

RATING, LABEL = (XMP, "Rating"), (XMP, "Label")
OUR_RATING, OUR_LABEL = (OURS, "Rating"), (OURS, "Label")
UNRATED = ("", "0")


class SidecarError(ValueError):
    """A sidecar cannot be changed, and stays as it is; names it and says why."""


class Sidecars:
    """Writes a sidecar a row.

    Args:
        limits: Scores from which on there are 2, 3, 4 and 5 stars.
        stem: `photo.xmp` instead of `photo.jpg.xmp`, where one picture alone has that stem.
        replace: Replace stars and labels that a person gave, too.
        signature: What the scores were made with.

    Attributes:
        written: How many sidecars were written.
        kept: Of these, those in which a person's stars or label stayed.
        shared: Pictures that got `photo.jpg.xmp` although `stem` is asked for, because others have their stem.
    """

    def __init__(
        self, limits: Sequence[float] = STARS, *, stem: bool = False, replace: bool = False, signature: str = ""
    ) -> None:
        self.limits, self.stem, self.replace, self.signature = limits, stem, replace, signature
        self.written = self.kept = self.shared = 0
        self._folder, self._stems = "", dict[str, int]()

    def write(self, row: Row) -> str | None:
        """Write the sidecar of a picture; its path. A row with an error gets none.

        Raises:
            SidecarError: what is there is no XMP.
            OSError: it cannot be read or written.
        """
        if row.score is None:
            return None
        path = os.path.realpath(self.path_of(row.path))
        check_replaceable(path)  # before it is read: a pipe or a device may never end
        try:
            data = Path(path).read_bytes() if os.path.lexists(path) else EMPTY
            changed = self._change(data or EMPTY, row)
        except PacketError as error:
            raise SidecarError(f"{path}: {error}; it stays as it is") from error
        if changed != data:
            with whole_file(path, "wb") as file:
                file.write(changed)
        self.written += 1
        return path

    def path_of(self, picture: str) -> str:
        """Where the sidecar of a picture is."""
        if self.stem:
            folder, name = os.path.split(picture)
            if self._share_of(folder, Path(name).stem) < 2:
                return os.path.join(folder, f"{Path(name).stem}.xmp")
            self.shared += 1
        return f"{picture}.xmp"

    def _share_of(self, folder: str, stem: str) -> int:
        """How many pictures of a folder have a stem; pictures come folder by folder."""
        if not self._stems or folder != self._folder:
            self._folder, self._stems = folder, {}
            for name in os.listdir(folder or os.curdir):
                base, suffix = os.path.splitext(name)
                if suffix.lower() in IMAGE_SUFFIXES:
                    self._stems[base] = self._stems.get(base, 0) + 1
        return self._stems.get(stem, 0)

    def _change(self, data: bytes, row: Row) -> bytes:
        assert row.score is not None
        score = round(row.score, DECIMALS)
        count = stars(score, self.limits)
        new: dict[Name, str] = {(OURS, "Score"): f"{score:.{DECIMALS}f}"}
        if row.std is not None:
            new[OURS, "Std"] = f"{row.std:.{DECIMALS}f}"
        if self.signature:
            new[OURS, "Signature"] = self.signature
        old = read_properties(data, (RATING, LABEL, OUR_RATING, OUR_LABEL))
        ours = ((RATING, OUR_RATING), (LABEL, OUR_LABEL))
        persons = any(old.get(name, "") not in (*UNRATED, old.get(mark)) for name, mark in ours)
        if self.replace or not persons:
            for (name, mark), value in zip(ours, (str(count), LABELS[count]), strict=True):
                new[name] = new[mark] = value
        else:
            self.kept += 1
        return change_properties(data, new)
