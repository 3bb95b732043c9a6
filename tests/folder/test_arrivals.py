"""Files that arrive, in whatever pieces they are written."""

import os
from collections import Counter
from pathlib import Path

import pytest

from qfm_metric.folder.arrivals import arrivals
from qfm_metric.folder.file_names import key
from qfm_metric.folder.row import Row

WHOLE = "whole"


class Done(Exception):  # noqa: N818  # nothing is wrong
    """There is nothing left to happen."""


class Folder:
    """A folder in which things happen at each look, and a clock that moves by `every` between two."""

    def __init__(self, *happenings):
        self.happenings, self.now, self.scored = list(happenings), 0.0, []
        Path("f").mkdir()

    def scan(self):
        if not self.happenings:
            raise Done
        happening = self.happenings.pop(0)
        if happening:
            happening()
        return sorted(str(path) for path in Path("f").iterdir())

    def score(self, path):
        self.scored.append((self.now, path))
        whole = Path(path).read_text().endswith(WHOLE)
        return Row(path, 0.5) if whole else Row(path, error="cut off")

    def sleep(self, seconds):
        self.now += seconds

    def rows(self, done=None, patience=5.0):
        found = []
        done = Counter() if done is None else done
        looks = arrivals(
            self.scan, self.score, done, every=1.0, patience=patience, clock=lambda: self.now, sleep=self.sleep
        )
        try:
            for row in looks:
                found.append((self.now, row.path, row.score, row.error))
        except Done:
            pass
        return found


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text, at=0):
    def happening():
        Path(name).write_text(text)
        os.utime(name, (at, at))

    return happening


def test_a_file_is_scored_once_when_it_stands_still():
    folder = Folder(write("f/a", WHOLE), None, None, None)
    assert folder.rows() == [(1.0, "f/a", 0.5, None)]
    assert folder.scored == [(1.0, "f/a")]


def test_a_file_that_grows_is_waited_for():
    folder = Folder(write("f/a", "1"), write("f/a", "12"), write("f/a", "123" + WHOLE), None, None)
    assert folder.rows() == [(3.0, "f/a", 0.5, None)]
    assert folder.scored == [(3.0, "f/a")]


def test_a_change_of_the_time_or_of_the_file_alone_counts():
    replaced = lambda: (Path("new").write_text(WHOLE), os.utime("new", (1, 1)), os.replace("new", "f/a"))  # noqa: E731
    folder = Folder(write("f/a", WHOLE), write("f/a", WHOLE, at=1), replaced, None)
    assert folder.rows() == [(3.0, "f/a", 0.5, None)]


def test_a_half_written_file_that_pauses_is_scored_when_the_rest_comes():
    folder = Folder(write("f/a", "half"), None, None, write("f/a", "half" + WHOLE), None)
    assert folder.rows() == [(4.0, "f/a", 0.5, None)]
    assert [when for when, _ in folder.scored] == [1.0, 4.0]


def test_a_file_that_cannot_be_read_is_given_up_after_its_patience():
    folder = Folder(write("f/a", "half"), *[None] * 8)
    assert folder.rows() == [(5.0, "f/a", None, "cut off")]
    assert [when for when, _ in folder.scored] == [1.0, 5.0]  # and not at every look


def test_a_file_that_could_not_be_read_for_a_while_is_not_given_up():
    folder = Folder(write("f/a", WHOLE), *[None] * 8)
    score = folder.score

    def of_a_drive_that_comes_back(path):  # which changes neither the file's size nor its time
        row = score(path)
        return row if folder.now > 2 else Row(path, error="Input/output error")

    folder.score = of_a_drive_that_comes_back
    assert folder.rows() == [(5.0, "f/a", 0.5, None)]
    assert [when for when, _ in folder.scored] == [1.0, 5.0]


def test_a_file_that_changes_while_it_is_scored_is_scored_again():
    folder = Folder(write("f/a", WHOLE), None, None, None)
    score = folder.score

    def slow(path):
        row = score(path)
        if len(folder.scored) == 1:
            write("f/a", "other" + WHOLE)()
        return row

    folder.score = slow
    assert folder.rows() == [(2.0, "f/a", 0.5, None)]


def test_files_that_go_and_folders_are_passed_over():
    folder = Folder(write("f/a", "half"), lambda: os.unlink("f/a"), lambda: os.mkdir("f/b"), None, None)
    assert folder.rows() == []
    assert folder.scored == []  # it went before it had stood still


def test_what_has_a_row_is_not_scored_again():
    folder = Folder(write("f/a", WHOLE), write("f/b", WHOLE), None, None)
    assert [path for _, path, _, _ in folder.rows(Counter([key("f/a")]))] == ["f/b"]
