"""The data sets that `prepare` knows, by name: their readers and the scales that they publish scores on."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import authentic, synthetic
from .labels import Scale, complete
from .table import Row, read_table


def read_plain_table(path: Path) -> list[Row]:
    """A table as `read_table` reads it, with all its pictures there; one without a group is a group of its own."""
    folder = path.parent.resolve()
    return [
        row if row.group else replace(row, group=os.path.relpath(row.image, folder))
        for row in complete(read_table(path), path)
    ]


READERS: dict[str, Callable[[Path], list[Row]]] = {
    "agiqa3k": authentic.read_agiqa3k,
    "biq2021": authentic.read_biq2021,
    "csiq": synthetic.read_csiq,
    "flive": authentic.read_flive,
    "kadid10k": synthetic.read_kadid10k,
    "koniq10k": authentic.read_koniq10k,
    "live": synthetic.read_live,
    "live-challenge": authentic.read_live_challenge,
    "live-realigned": synthetic.read_live_realigned,
    "pipal": synthetic.read_pipal,
    "spaq": authentic.read_spaq,
    "table": read_plain_table,
    "tid2013": synthetic.read_tid2013,
    "uhd-iqa": authentic.read_uhd_iqa,
}

SCALES: dict[str, Scale] = {
    "agiqa3k": authentic.AGIQA3K,
    "biq2021": authentic.BIQ2021,
    "csiq": synthetic.CSIQ,
    "flive": authentic.FLIVE,
    "kadid10k": synthetic.KADID10K,
    "koniq10k": authentic.KONIQ10K,
    "live": synthetic.LIVE,
    "live-challenge": authentic.LIVE_CHALLENGE,
    "live-realigned": synthetic.LIVE_REALIGNED,
    "pipal": synthetic.PIPAL,
    "spaq": authentic.SPAQ,
    "table": Scale(0, 1),
    "tid2013": synthetic.TID2013,
    "uhd-iqa": authentic.UHD_IQA,
}
