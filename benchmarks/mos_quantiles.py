"""Print the quantiles of BIQ2021's training part that `qfm_metric/scale.py` holds.

python benchmarks/mos_quantiles.py DATA/all.csv      # the table that `python -m qfm_metric.train prepare` wrote
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np

from qfm_metric.train.datasets.table import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    mos = [row.mos for row in read_table(parser.parse_args().table) if row.split in ("train", "val")]
    values = np.quantile(mos, np.linspace(0, 1, 101))
    print(f"{len(mos)} pictures")
    print(textwrap.fill(", ".join(f"{value:.4f}" for value in values) + ",", 116))


if __name__ == "__main__":
    main()
