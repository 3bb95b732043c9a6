"""Human means per type and level: what is read, what is refused."""

import numpy as np
import pytest

from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.severity import read_severity, target

HEADER = "data_set,type,name,level,mean_score,std_between_images,images,scale\n"


def line(data_set="KADID-10k", type=1, level=1, mean=4.0, name="GBLUR", scale=None):
    scale = scale or {"KADID-10k": "DMOS 1..5", "TID2013": "MOS 0..9"}.get(data_set, "MOS 0..1")
    return f'{data_set},{type},{name},{level},{mean},0.1,22,"{scale}, higher is better"\n'


def test_quality_is_the_share_of_the_best_level_of_the_data_set(tmp_path):
    path = tmp_path / "severity.csv"
    path.write_text(HEADER + line(mean=4.0) + line(level=2, mean=2.5) + line("TID2013", mean=6) + line("TID2013", 2))
    levels = read_severity(path)
    assert [level.quality for level in levels] == pytest.approx([1, 0.5, 1, 2 / 3])
    assert [(level.data_set, level.type, level.level, level.mean) for level in levels[1:3]] == [
        ("KADID-10k", 1, 2, 2.5),
        ("TID2013", 1, 1, 6.0),
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (line(mean="good"), r"line 3, column mean_score: expected a number above 1, at most 5, got 'good'"),
        (line(mean="nan"), r"line 3, column mean_score"),
        (line(mean=1), r"line 3, column mean_score"),
        (line(mean=5.1), r"line 3, column mean_score"),
        (line("LIVE"), r"line 3, column data_set: expected KADID-10k or TID2013, got 'LIVE'"),
        (line("TID2013", type=25), r"line 3, column type: expected a type of TID2013, 1 to 24, got '25'"),
        (line(level=6), r"line 3, column level: expected a level from 1 to 5, got '6'"),
        (line(level=""), r"line 3, column level"),
        (line(scale="unknown"), r"line 3, column scale"),
        (line(level=5, mean=2), r"line 3, column level: KADID-10k type 1 level 5 was given"),
        ("KADID-10k,1\n", r"line 3: the line ends before name, level"),
    ],
)
def test_bad_content_is_named(tmp_path, lines, says):
    path = tmp_path / "severity.csv"
    path.write_text(HEADER + line(level=5) + lines)
    with pytest.raises(DataError, match=rf"severity.csv, {says}"):
        read_severity(path)


def test_missing_files_columns_and_rows_are_named(tmp_path):
    path = tmp_path / "severity.csv"
    with pytest.raises(DataError, match=r"severity.csv: no such file"):
        read_severity(path)
    path.write_text("data_set,type,name,level,scale\n")
    with pytest.raises(DataError, match=r"severity.csv: column mean_score is missing"):
        read_severity(path)
    path.write_text(HEADER)
    with pytest.raises(DataError, match=r"severity.csv: the table has no rows"):
        read_severity(path)


def test_target_runs_from_the_floor_to_the_clean_picture():
    assert target(0.8, 1.0) == 0.8
    assert target(0.8, 0.0) == 0.1
    assert np.allclose(target(np.array([0.5, 0.9]), np.array([0.5, 1.0])), [0.3, 0.9])
