"""At what quality a JPEG file was compressed, from its quantisation tables."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

# ITU-T T.81, Annex K.1: tables K.1 and K.2, in rows of rising horizontal frequency.
_LUMINANCE = """
 16  11  10  16  24  40  51  61   12  12  14  19  26  58  60  55   14  13  16  24  40  57  69  56
 14  17  22  29  51  87  80  62   18  22  37  56  68 109 103  77   24  35  55  64  81 104 113  92
 49  64  78  87 103 121 120 101   72  92  95  98 112 100 103  99
"""
_CHROMINANCE = f"""
 17  18  24  47  99  99  99  99   18  21  26  66  99  99  99  99   24  26  56  99  99  99  99  99
 47  66  99  99  99  99  99  99   {"99 " * 32}
"""
_ROUNDING = 1  # encoders that compute with fractions round some steps another way


@cache
def standard_tables(chrominance: bool = False, largest: int = 255) -> NDArray[np.int64]:
    """The standard's table at the qualities 1 to 100 as libjpeg scales it, `(100, 64)`, in rows.

    Args:
        chrominance: The table for colour differences in the place of the one for brightness.
        largest: Step to which larger ones are cut: 255 in baseline files, 32767 in others.
    """
    base = np.array((_CHROMINANCE if chrominance else _LUMINANCE).split(), dtype=np.int64)
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((base * scale[:, None] + 50) // 100, 1, largest)


def table_quality(table: Sequence[int], chrominance: bool = False) -> int | None:
    """The quality in [1, 100] at which the standard's table is nearest to this one in least squares.

    None if it is another table: a step differs by more than rounding.

    Args:
        table: 64 steps in rows, as Pillow's `image.quantization` has them.
        chrominance: See `standard_tables`.
    """
    steps = np.asarray(table, dtype=np.int64)
    standard = standard_tables(chrominance, 255 if steps.max() <= 255 else 32767)
    nearest = int(np.argmin(((standard - steps) ** 2).sum(axis=1)))
    return nearest + 1 if np.abs(standard[nearest] - steps).max() <= _ROUNDING else None


def file_quality(tables: Mapping[int, Sequence[int]], components: Sequence[int]) -> int | None:
    """The quality at which a file was compressed, by the table for brightness; None if one of its tables is custom.

    Args:
        tables: By number.
        components: The numbers of the tables of the components, brightness first.
    """
    found = table_quality(tables[components[0]])
    for other in set(components[1:]):  # some encoders give colour differences a quality of their own
        if table_quality(tables[other], chrominance=True) is None and table_quality(tables[other]) is None:
            return None
    return found
