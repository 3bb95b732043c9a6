"""What Windows does otherwise, where it can be had from here: by saying what its own functions say."""

import os
import sys

from qfm_metric.cull.apply import _is_our_link
from qfm_metric.cull.plan import _name_below
from qfm_metric.cull.undo_file import Step
from qfm_metric.folder.cores import allowed_workers


def test_no_more_workers_are_started_than_a_process_can_wait_for(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(200))
    monkeypatch.setattr(os, "sysconf_names", {})
    assert allowed_workers(tmp_path) == 200
    monkeypatch.setattr(sys, "platform", "win32")
    assert allowed_workers(tmp_path) == 61


def test_a_picture_on_another_drive_keeps_its_name(monkeypatch):
    def refuse(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", refuse)
    assert _name_below("D:/photos/a.jpg", "C:/plans") == "a.jpg"


def test_our_links_are_known_with_the_prefix_of_long_paths(monkeypatch):
    monkeypatch.setattr(os.path, "islink", lambda path: True)
    monkeypatch.setattr(os, "readlink", lambda path: "\\\\?\\C:\\photos\\a.jpg")
    assert _is_our_link(Step("C:\\photos\\a.jpg", "C:\\rejected\\a.jpg"))
    assert not _is_our_link(Step("C:\\photos\\b.jpg", "C:\\rejected\\a.jpg"))
