"""Labelled pictures in one table format, split by groups, decoded once.

The table is a CSV file with a header: `image,mos` and optionally `group,subset,split`. `image` is a path, relative to
the table's folder or absolute; `mos` is in [0, 1], higher is better; pictures with the same `group` (same content,
duplicates) are never split apart; `split` is `train`, `val` or `test`.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ...atomic import whole_file
from ...images import load_image

PARTS = ("train", "val", "test")
FEWEST = 3  # pictures that say anything of an order


class DataError(ValueError):
    """A data set that is not in the expected layout; names the file and what was expected."""


@dataclass(frozen=True)
class Row:
    """One labelled picture. `mos` is in [0, 1]; an empty `split` means not assigned yet."""

    image: str
    mos: float
    group: str = ""
    subset: str = ""
    split: str = ""


def csv_records(
    path: Path, columns: Sequence[str], layout: str = "", *, optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Per line of a CSV file with a header: where it stands ("FILE, line N"), and its fields by column.

    Raises:
        DataError: no such file, a column of `columns` is missing, or a line ends before it; says what was expected
            (`layout`; default: a CSV file with the columns). One of `optional` that is there under nearly its name
            would be passed over. Or it is no CSV in UTF-8.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; expected {layout or 'a CSV file with the columns ' + ','.join(columns)}"
        )
    with path.open(newline="", encoding="utf-8-sig") as file, _reading(path):
        reader = csv.DictReader(file)
        _check_heading(path, reader.fieldnames or [], columns, optional)
        for record in reader:
            if not any(record.values()):  # of a row that was emptied, spreadsheets leave its commas
                continue
            where = f"{path}, line {reader.line_num}"
            absent = [column for column in columns if record[column] is None]
            if absent:
                raise DataError(f"{where}: the line ends before {', '.join(absent)}")
            yield where, record


def _check_heading(path: Path, names: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> None:
    for column in (*columns, *optional):
        alike = [name for name in names if name.strip().lower() == column.lower()]
        if column not in names and alike:
            raise DataError(f"{path}: column {alike[0]!r}: expected the name {column!r}")
        if names.count(column) > 1:
            raise DataError(f"{path}: column {column} is there more than once; rename the others")
    if missing := [column for column in columns if column not in names]:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(names) or 'no heading'}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What a CSV file cannot be read for."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, got other bytes ({error}); save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: expected a CSV file ({error}); look for a quote without its end") from error


def read_table(path: Path) -> list[Row]:
    """Read a table; image paths come back absolute.

    Raises:
        DataError: no such file, a missing column, an MOS that is no number in [0, 1]; names the line.
    """
    names = [field.name for field in fields(Row)]
    rows = []
    for where, record in csv_records(path, names[:2], optional=names[2:]):
        extra = {name: record.get(name) or "" for name in names[2:]}
        if extra["split"] not in ("", *PARTS):
            raise DataError(f"{where}, column split: expected {', '.join(PARTS)} or nothing, got {extra['split']!r}")
        rows.append(Row(str(path.parent.resolve() / record["image"]), _mos(record["mos"], where), **extra))
    if not rows:
        raise DataError(f"{path}: the table has no rows")
    return rows


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Write rows as a table that `read_table` reads back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def regroup(rows: list[Row], path: Path) -> list[Row]:
    """Replace groups by those of a CSV file with the columns `image,dup_group`, where it lists a picture's file name.

    Raises:
        DataError: no such file, a missing column.
    """
    group_of = {record["image"].lower(): record["dup_group"] for _, record in csv_records(path, ("image", "dup_group"))}
    return [replace(row, group=group_of.get(Path(row.image).name.lower(), row.group)) for row in rows]


def part_as(rows: list[Row], path: Path) -> list[Row]:
    """Assign the parts of a CSV file with the columns `image,part`, by a picture's file name.

    Raises:
        DataError: no such file, a missing column, an unknown part, a picture that the file does not list.
    """
    part_of = {}
    for where, record in csv_records(path, ("image", "part")):
        if record["part"] not in PARTS:
            raise DataError(f"{where}, column part: expected train, val or test, got {record['part']!r}")
        part_of[record["image"].lower()] = record["part"]
    if missing := [row.image for row in rows if Path(row.image).name.lower() not in part_of]:
        raise DataError(f"{path}: {len(missing)} pictures have no part, {missing[0]} among them")
    return [replace(row, split=part_of[Path(row.image).name.lower()]) for row in rows]


def split_by_group(rows: list[Row], val_share: float, seed: int, test_share: float = 0.0) -> list[Row]:
    """Assign whole groups to validation and test until they hold about these shares of the pictures; the rest trains.

    Official parts stay as they are: validation is drawn from `train` or unassigned pictures if there is no validation
    part yet, test only from sets without any part. Groups that reach into the test part stay in train: they may not
    decide anything by validation. The choice depends on the seed and the group's name alone, so adding pictures moves
    no other group, and a test share moves nothing between train and validation.
    """
    parts = {row.split for row in rows} - {""}
    val_share = 0.0 if "val" in parts else val_share
    test_share = 0.0 if parts else test_share
    if not (val_share >= 0 and test_share >= 0 and val_share + test_share < 1):  # NaN, too
        raise DataError(f"expected shares that leave something to train on, got {val_share:g} and {test_share:g}")
    in_test = {row.group for row in rows if row.split == "test"}

    def place(row: Row) -> Row:
        if row.split not in ("", "train"):
            return row
        draw = int(hashlib.sha256(f"{seed}/{row.group}".encode()).hexdigest()[:8], 16) / 16**8
        if draw < val_share and row.group not in in_test:
            return replace(row, split="val")
        return replace(row, split="test" if draw >= 1 - test_share else "train")

    return [place(row) for row in rows]


@dataclass(frozen=True)
class Decoded:
    """Decoded pictures of one size on disk. `pixels` is a read-only `(N, side, side, 3)` uint8 memory map."""

    rows: list[Row]
    pixels: NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path) -> "Decoded":
        """Open what `decode` wrote.

        Raises:
            DataError: no table, or one that other pixels are beside.
        """
        rows = read_table(folder / "table.csv")
        try:
            _, *one = json.loads((folder / "shape.json").read_text())
            return cls(rows, np.memmap(folder / "pixels.u8", np.uint8, "r").reshape(len(rows), *one))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{folder}: table.csv, shape.json and pixels.u8 do not belong together ({error}); call `prepare` again"
            ) from error

    def select(self, split: str) -> NDArray[np.int64]:
        """Indices of the pictures of one split."""
        return np.array([i for i, row in enumerate(self.rows) if row.split == split], dtype=np.int64)

    def need(self, split: str) -> NDArray[np.int64]:
        """As `select`.

        Raises:
            DataError: there are fewer than `FEWEST`.
        """
        chosen = self.select(split)
        if len(chosen) < FEWEST:
            raise DataError(
                f"expected {FEWEST} or more decoded pictures of the part {split!r}, got {len(chosen)}; "
                "`python -m qfm_metric.train prepare` decodes those of train and val"
            )
        return chosen

    def pictures(self, chosen: Iterable[int]) -> list[NDArray[np.uint8]]:
        """Some pictures, `(side, side, 3)` each, as parts of the map: read when they are looked at, not all at once."""
        return [self.pixels[i] for i in chosen]

    @property
    def digest(self) -> str:
        """Of names, MOS, parts and size, wherever the pictures lie: who goes on with a run learns from the same."""
        told = [(Path(row.image).name, row.mos, row.split) for row in self.rows]
        return hashlib.sha256(repr((told, self.pixels.shape)).encode()).hexdigest()

    @property
    def mos(self) -> NDArray[np.float32]:
        return np.array([row.mos for row in self.rows], dtype=np.float32)


def decode(rows: list[Row], folder: Path, side: int = 512, workers: int = 2) -> list[str]:
    """Decode pictures once into a memory map; returns a message per picture that was left out as unreadable.

    A picture whose sides are not `side` is reduced (never enlarged) to cover `side` x `side` and cropped at its centre.
    What an earlier call wrote stays until all are decoded.

    Raises:
        DataError: not one can be used; or no side.
    """
    if side < 1:
        raise DataError(f"expected a side of 1 px or more, got {side}")
    folder.mkdir(parents=True, exist_ok=True)
    # Only readable pictures get a row, so the file grows by appending.
    kept, failures = [], []
    # One thread a worker: a forked child that starts OpenMP's threads anew can hang.
    pool = ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    with whole_file(folder / "pixels.u8", "wb") as file, pool:
        images = [row.image for row in rows]
        for row, result in zip(rows, pool.map(partial(_decode_one, side=side), images, chunksize=16), strict=True):
            if isinstance(result, str):
                failures.append(result)
            else:
                kept.append(row)
                file.write(result.tobytes())
        if rows and not kept:
            raise DataError(f"not one of {len(rows)} pictures can be used: {failures[0]}")
        (folder / "table.csv").unlink(missing_ok=True)  # beside other pixels it would give them wrong names
    (folder / "shape.json").write_text(json.dumps([len(kept), side, side, 3]))
    write_table(kept, folder / "table.csv")
    return failures


def _decode_one(path: str, side: int) -> NDArray[np.uint8] | str:
    try:
        image = load_image(path)
    except ValueError as error:
        return str(error)
    height, width = image.shape[-2:]
    if min(height, width) < side:
        return f"{path}: {width} x {height} px is smaller than {side} x {side}; left out, pictures are not enlarged"
    if min(height, width) > side:
        scale = side / min(height, width)
        size = (max(side, round(height * scale)), max(side, round(width * scale)))
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
        height, width = size
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    return (square * 255).round().byte().permute(1, 2, 0).numpy()


def _mos(text: str, where: str) -> float:
    try:
        mos = float(text)
    except ValueError as error:
        raise DataError(f"{where}: expected an MOS in [0, 1], got {text!r}") from error
    if not 0 <= mos <= 1:
        raise DataError(f"{where}: expected an MOS in [0, 1], got {mos}; rescale the column, higher is better")
    return mos
