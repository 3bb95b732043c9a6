"""The data sets that `prepare` knows, by name: what reads each, and the scale that it publishes scores on."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from . import authentic, synthetic
from .labels import Scale, complete
from .table import Row, decode, part_as, read_table, regroup, split_by_group, write_table


class DataSet(NamedTuple):
    """How a data set is read.

    Attributes:
        read: The folder as published (`table`: the file) to rows.
        scale: Of the published scores.
    """

    read: Callable[[Path], list[Row]]
    scale: Scale


def read_plain_table(path: Path) -> list[Row]:
    """A table as `read_table` reads it, with all its pictures there; one without a group is a group of its own."""
    folder = path.parent.resolve()
    return [
        row if row.group else replace(row, group=os.path.relpath(row.image, folder))
        for row in complete(read_table(path), path)
    ]


DATA_SETS = {
    "agiqa3k": DataSet(authentic.read_agiqa3k, authentic.AGIQA3K),
    "biq2021": DataSet(authentic.read_biq2021, authentic.BIQ2021),
    "csiq": DataSet(synthetic.read_csiq, synthetic.CSIQ),
    "flive": DataSet(authentic.read_flive, authentic.FLIVE),
    "kadid10k": DataSet(synthetic.read_kadid10k, synthetic.KADID10K),
    "koniq10k": DataSet(authentic.read_koniq10k, authentic.KONIQ10K),
    "live": DataSet(synthetic.read_live, synthetic.LIVE),
    "live-challenge": DataSet(authentic.read_live_challenge, authentic.LIVE_CHALLENGE),
    "live-realigned": DataSet(synthetic.read_live_realigned, synthetic.LIVE_REALIGNED),
    "pipal": DataSet(synthetic.read_pipal, synthetic.PIPAL),
    "spaq": DataSet(authentic.read_spaq, authentic.SPAQ),
    "table": DataSet(read_plain_table, Scale(0, 1)),
    "tid2008": DataSet(synthetic.read_tid2008, synthetic.TID2008),
    "tid2013": DataSet(synthetic.read_tid2013, synthetic.TID2013),
    "uhd-iqa": DataSet(authentic.read_uhd_iqa, authentic.UHD_IQA),
}


def prepare(
    name: str,
    root: Path,
    out: Path,
    *,
    groups: Path | None = None,
    parts: Path | None = None,
    val_share: float = 0.15,
    test_share: float = 0.2,
    seed: int = 0,
    side: int = 512,
    workers: int = 2,
) -> list[str]:
    """Read a data set in its official layout, split it by groups, decode its pictures once.

    The test part is in the table but not decoded: nothing that trains can look at it.

    Args:
        name: Of `DATA_SETS`.
        root: See `DataSet.read`.
        out: Folder for the table (`all.csv`), the published scale and the decoded pictures.
        groups: See `regroup`.
        parts: See `part_as`.
        val_share, test_share, seed: See `split_by_group`.
        side, workers: See `decode`.

    Returns:
        A message per picture that was left out.

    Raises:
        DataError: the data set is not in its layout, or the shares leave nothing to train on.
    """
    data_set = DATA_SETS[name]
    rows = data_set.read(root)
    rows = regroup(rows, groups) if groups else rows
    rows = part_as(rows, parts) if parts else rows
    rows = split_by_group(rows, val_share, seed, test_share)
    # The slow part first: cut off, it leaves the table of an earlier call beside the pictures that go with it.
    left_out = decode([row for row in rows if row.split != "test"], out / "decoded", side, workers)
    write_table(rows, out / "all.csv")
    # What the scores were before they became an MOS in [0, 1].
    (out / "scale.json").write_text(json.dumps({"data_set": name, **asdict(data_set.scale)}, indent=2) + "\n")
    return left_out
