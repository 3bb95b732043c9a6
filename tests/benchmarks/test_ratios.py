"""benchmarks/ratios.py and threads.py: their arithmetic, and processes that are timed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import ratios
import threads

from qfm_metric.folder.cores import allowed_workers


def test_ratios_are_medians_within_a_round():
    found = ratios.ratios_of({"base": [1.0, 2.0, 4.0], "other": [2.0, 6.0, 4.0]}, "base")
    assert found == {"other": 2.0}


def test_a_ratio_beyond_its_limit_is_named():
    most, least = next(iter(ratios.MOST)), next(iter(ratios.LEAST))
    assert ratios.beyond({most: ratios.MOST[most], least: ratios.LEAST[least], "another": 1e9}) == []
    assert ratios.beyond({most: ratios.MOST[most] + 0.1, least: ratios.LEAST[least] - 0.1}) == [most, least]


def test_processor_seconds_are_of_the_whole_process_or_until_a_line():
    work = "t = sum(range(10**6)); print('first'); t = [sum(range(10**7)) for _ in range(5)]; print('second')"
    command = [sys.executable, "-c", work]
    assert 0 < ratios.processor_seconds(command, 1) < ratios.processor_seconds(command)


@pytest.mark.skipif(sys.platform != "linux", reason="no control groups")
def test_a_faked_quota_is_what_the_command_reads(tmp_path):
    assert allowed_workers(threads.fake_quota(tmp_path, 1.0)) == 1
