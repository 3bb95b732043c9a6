"""Precision and recall of rejecting by the score, in closed form."""

import numpy as np
import pytest

from qfm_metric.cull.decide import PRESETS
from qfm_metric.train.thresholds import BAD, THRESHOLDS, figures, markdown

# Of ten pictures people call four bad or poor; three of these score below .4, and one other picture does.
MOS = np.array([0.1, 0.2, 0.3, 0.39, 0.4, 0.6, 0.7, 0.8, 0.8, 0.9])
SCORES = np.array([0.25, 0.3, 0.39, 0.45, 0.35, 0.4, 0.7, 0.8, 0.8, 0.9])


def at(found, threshold):
    return next(row for row in found if row["below"] == threshold)


def test_precision_and_recall_are_those_of_the_pictures_below_both():
    found = figures(SCORES, MOS)
    row = at(found, 0.4)
    assert (row["rejected"], row["of"], row["bad or poor"]["bad"], row["bad or poor"]["right"]) == (4, 10, 4, 3)
    # Wilson's interval by hand: (k + z^2 / 2 +- z sqrt(k (n - k) / n + z^2 / 4)) / (n + z^2), with z = 1.959964.
    assert row["bad or poor"]["precision"] == pytest.approx([0.75, 0.300642, 0.954413], abs=1e-6)
    assert row["bad or poor"]["recall"] == row["bad or poor"]["precision"]
    assert row["worst tenth"]["precision"][0] == 3 / 4
    assert row["worst tenth"]["recall"][0] == 1
    assert row["worst quarter"]["precision"][0] == 1
    assert row["worst quarter"]["recall"][0] == 4 / 5


def test_where_nothing_is_rejected_or_bad_there_is_no_share():
    found = figures(SCORES, np.full(10, 0.9))
    assert at(found, 0.2)["bad or poor"] == {"mos": 0.4, "bad": 0, "right": 0, "precision": None, "recall": None}
    assert at(found, 0.4)["bad or poor"]["precision"][0] == 0
    assert "| .2 (`--keep lenient`) | 0 | -; - | -; - | -; - |" in markdown(found)


def test_every_preset_has_a_row_that_names_it():
    text = markdown(figures(SCORES, MOS))
    for name, (look, _) in PRESETS.items():
        assert f"| .{look * 10:.0f} (`--keep {name}`) | " in text
    assert "bad or poor: MOS below .400, 4 |" in text
    assert (
        "| 4 | .75 (.30 to .95); 1.00 (.44 to 1.00) | .75 (.30 to .95); .75 (.30 to .95) | 1.00 (.51 to 1.00);" in text
    )
    assert len(text.splitlines()) == 2 + len(THRESHOLDS)


def test_marks_rise_and_arrays_must_fit():
    assert [*BAD.values()] == sorted(BAD.values())
    with pytest.raises(ValueError, match="expected two"):
        figures(SCORES, MOS[:9])
