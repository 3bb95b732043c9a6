"""Whole files: each appears when it is complete, whoever else writes one of its name."""

import os
import stat
import sys

import pytest

from qfm_metric.atomic import check_writable, whole_file


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """Processes of two containers have the same number as well as threads of one process."""
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write("first " * 10_000)
        check_writable(path)
        with whole_file(path) as second:
            second.write("second")
        assert path.read_text() == "second"
        first.write("end")
    assert path.read_text() == "first " * 10_000 + "end"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "a.txt"
    path.touch(mode=0o600)
    with whole_file(path) as file:
        file.write("secret")
        assert {stat.S_IMODE(found.stat().st_mode) for found in tmp_path.iterdir()} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
