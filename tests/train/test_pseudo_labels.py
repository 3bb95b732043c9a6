"""Pseudo-labels: the mean and the spread of members, files that are written and read, files that are refused."""

import numpy as np
import pytest

from qfm_metric.train import pseudo_labels
from qfm_metric.train.datasets.table import DataError, Decoded, Row


@pytest.fixture
def decoded():
    rows = [Row(f"/somewhere/{name}.png", mos) for name, mos in (("A", 0.25), ("b", 0.5), ("c", 0.75))]
    return Decoded(rows, np.zeros((3, 2, 2, 3), np.uint8))


def member(tmp_path, number, text):
    path = tmp_path / f"{number}.csv"
    path.write_text("image,score\n" + text)
    return path


def test_labels_are_mean_and_spread_of_the_members(decoded, tmp_path):
    members = [member(tmp_path, 0, "a.png,0.1\nb.png,0.4\n"), member(tmp_path, 1, "B.PNG,0.6\nelse.png,1\n")]
    labels = pseudo_labels.read_labels(decoded, members)
    np.testing.assert_allclose(labels.teacher, [0.1, 0.5, 0.75])  # both, one alone, and the MOS where none knows
    np.testing.assert_allclose(labels.spread, [0, 0.1, 0], atol=1e-7)
    np.testing.assert_array_equal(labels.mos, decoded.mos)
    np.testing.assert_allclose(labels.clean, [0.175, 0.5, 0.75])
    assert {x.dtype for x in (labels.mos, labels.teacher, labels.spread, labels.clean)} == {np.dtype(np.float32)}


def test_without_members_the_mos_are_the_labels(decoded):
    labels = pseudo_labels.read_labels(decoded, [])
    np.testing.assert_array_equal(labels.teacher, decoded.mos)
    assert not labels.spread.any()


def test_what_is_written_is_read(decoded, tmp_path):
    path = tmp_path / "new" / "member.csv"
    pseudo_labels.write_member(decoded, np.array([0.12344, np.nan, 1.0], np.float32), path)
    assert path.read_text() == "image,score\nA.png,0.1234\nc.png,1.0000\n"
    np.testing.assert_allclose(pseudo_labels.read_labels(decoded, [path]).teacher, [0.1234, 0.5, 1])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("image,mos\na.png,0.5\n", r"member\.csv: column score is missing; found image, mos"),
        ("", r"member\.csv: column image, score is missing"),
        ("image,score\na.png,0.5\nb.png,good\n", r"member\.csv, line 3: expected a score"),
        ("image,score\na.png\n", r"member\.csv, line 2: the line ends before score"),
    ],
)
def test_files_that_are_no_pseudo_labels_are_named(decoded, tmp_path, content, says):
    path = tmp_path / "member.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        pseudo_labels.read_labels(decoded, [path])


def test_a_missing_file_is_named(decoded, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file; expected pseudo-labels"):
        pseudo_labels.read_labels(decoded, [tmp_path / "none.csv"])


def test_a_name_that_several_pictures_have_is_refused(tmp_path):
    rows = [Row("/a/1.png", 0.25), Row("/b/1.png", 0.75), Row("/b/2.png", 0.75), Row("/a/2.PNG", 0.5)]
    decoded = Decoded(rows, np.zeros((4, 2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"0\.csv: 1 names stand for several pictures each, '1\.png' among them"):
        pseudo_labels.read_member(decoded, member(tmp_path, 0, "1.png,0.1\n1.png,0.9\n"))
