"""The names of defects."""

import re

from qfm_metric.defects import DEFECTS, NAMES


def test_each_name_comes_with_a_sentence():
    assert tuple(DEFECTS) == NAMES
    assert all(re.fullmatch(r"[a-z_]+", name) for name in NAMES)
    assert all(re.fullmatch(r"[A-Z][^.]+\.", sentence) for sentence in DEFECTS.values())
    assert len(set(DEFECTS.values())) == len(NAMES)
