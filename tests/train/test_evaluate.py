"""Figures of a part of a data set."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from qfm_metric.train.datasets.table import Row
from qfm_metric.train.evaluate import figures


def test_figures_by_subset_and_without_duplicates():
    # Within a subset the order is wrong, between them right: the overall figure flatters.
    scores = np.array([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])
    rows = [Row("", mos, str(i), "low" if i < 3 else "high") for i, mos in enumerate([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])]
    result = figures(scores, rows, seen_groups={"0"})
    assert result["all"]["srcc"] == pytest.approx(spearmanr(scores, [row.mos for row in rows])[0])
    assert result["all"]["srcc"] > 0.5
    assert result["within_srcc"] == -1
    assert set(result["subsets"]) == {"low", "high"}
    assert result["no_duplicates"]["n"] == 5
