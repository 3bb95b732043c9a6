"""Doing what a plan says, and taking it back: nothing is lost, nothing is doubled, wherever it is cut off."""

import errno
import os
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.killing import killed_at

from qfm_metric.cull import move as moving
from qfm_metric.cull.apply import apply_plan, steps_of, undo_plan
from qfm_metric.cull.decide import Decision
from qfm_metric.cull.plan import PlanError, Planned
from qfm_metric.cull.undo_file import UndoError, UndoFile
from qfm_metric.folder.row import Row

KEEP, LOOK, REJECT = Decision


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def planned(path, decision=REJECT, name=None):
    return Planned(Row(path, 0.1), decision, "", name or os.path.relpath(path, "f"))


def write(*names, folder="f"):
    """Files whose content is their name."""
    for name in names:
        Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_text(name)


def files(*folders):
    """Path to content of every file, links included as what they point to."""
    found = {}
    for folder in folders or ("f", "to"):
        for place, _, names in os.walk(folder):
            found |= {
                os.path.join(place, name): os.readlink(p)
                if os.path.islink(p := os.path.join(place, name))
                else Path(p).read_text()
                for name in names
            }
    return found


@pytest.fixture
def across(monkeypatch):
    """Every folder is a file system of its own."""

    def rename(source, target):
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link", source, None, target)
        return real(source, target)

    real = moving.rename
    monkeypatch.setattr(moving, "rename", rename)


@pytest.fixture
def without_renameat2(monkeypatch):
    """As on a network drive: the file gets its second name before it loses the first."""
    monkeypatch.setattr(moving, "_rename_exclusively", lambda source, target: errno.EINVAL)


@pytest.fixture(params=["renamed", "linked and unlinked", "copied"])
def way(request):
    """How a file gets from one place to the other."""
    wanted = {"linked and unlinked": "without_renameat2", "copied": "across"}.get(request.param)
    if wanted:
        request.getfixturevalue(wanted)
    return request.param


SET = ("a.jpg", "a.CR3", "a.xmp", "b.png", "b.png.xmp", "c.jpg", "g/d.jpg", "g/d.xmp", "other.txt")


def small_plan():
    write(*SET)
    return [planned("f/a.jpg"), planned("f/b.png", LOOK), planned("f/c.jpg", KEEP), planned("f/g/d.jpg")]


MOVED = {name: f"to/reject/{name}" for name in ("a.jpg", "a.CR3", "a.xmp", "g/d.jpg", "g/d.xmp")}


def test_rejected_pictures_move_with_what_belongs_to_them_and_come_back(way):
    plan = small_plan()
    before = files()
    os.utime("f/a.jpg", (10**9, 10**9))
    outcome = apply_plan(plan, "to", "undo")
    assert (outcome.done, outcome.before, outcome.problems) == (5, 0, [])
    assert files() == {MOVED.get(name, f"f/{name}"): name for name in SET}
    assert os.stat("to/reject/a.jpg").st_mtime == 10**9
    again = apply_plan(plan, "to", "undo")
    assert (again.done, again.before, again.problems) == (0, 2, [])
    back = undo_plan("undo")
    assert (back.done, back.problems) == (5, [])
    assert files() == before
    assert not os.path.exists("to")
    assert not os.path.exists("undo")


def test_links_leave_everything_where_it_is():
    plan = small_plan()
    before = files()
    outcome = apply_plan(plan, "to", "undo", link=True, decisions=list(Decision))
    assert (outcome.done, outcome.problems) == (8, [])
    links = files("to")
    assert links["to/look/b.png.xmp"] == os.path.abspath("f/b.png.xmp")
    assert Path("to/keep/c.jpg").read_text() == "c.jpg"
    assert files("f") == before
    assert apply_plan(plan, "to", "undo", link=True, decisions=list(Decision)).before == 8
    with pytest.raises(UndoError, match="were linked by an earlier run, and cannot be moved"):
        apply_plan(plan, "to", "undo")
    assert undo_plan("undo").done == 8
    assert files() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")  # the child computes nothing
@pytest.mark.slow
def test_killed_anywhere_every_picture_is_where_the_undo_file_says(way):
    """SIGKILL before every seventh line of the code; then the same again, or the undo, killed once more on the way."""
    before, after, line, killed = {}, {}, 0, True
    while killed:
        for folder in ("f", "to"):
            for path in sorted(Path(folder).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
        Path("undo").unlink(missing_ok=True)
        plan = small_plan()
        before = files("f")
        after = {MOVED.get(name, f"f/{name}"): name for name in SET}
        killed = killed_at(line, lambda plan=plan: apply_plan(plan, "to", "undo"), "qfm_metric/cull/")
        check(way, MOVED)
        if line % 2:
            killed_at(line // 2, lambda plan=plan: apply_plan(plan, "to", "undo"), "qfm_metric/cull/")
            check(way, MOVED)
            assert apply_plan(plan, "to", "undo").problems == []
            assert files() == after
        else:
            if os.path.exists("undo") and os.path.getsize(
                "undo"
            ):  # else it was killed before there was anything to undo
                killed_at(line // 2, lambda: undo_plan("undo"), "qfm_metric/cull/")
                check(way, MOVED)
            if os.path.exists("undo") and os.path.getsize("undo"):
                assert undo_plan("undo").problems == []
            assert files() == before
        line += 7
    assert line > 300  # or there were fewer points than steps


def check(way, moved):
    """Every file is whole, in its place or in the one that was written down; twice only while it is being moved."""
    found = files()
    parts = [path for path in found if path.endswith(".part")]
    assert len(parts) <= (way == "copied")
    twice = 0
    for name in SET:
        places = {path for path in (f"f/{name}", moved.get(name, "")) if path in found}
        assert places, name
        assert {found[path] for path in places} == {name}
        twice += len(places) - 1
    assert twice <= (way != "renamed")
    assert len(found) == len(SET) + twice + len(parts)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a second file system")
def test_a_move_to_another_file_system_is_a_verified_copy():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert os.stat(other).st_dev != os.stat(".").st_dev
        write("a.jpg", "a.xmp")
        assert apply_plan([planned("f/a.jpg")], f"{other}/to", "undo").done == 2
        assert files("f") == {}
        assert Path(other, "to/reject/a.jpg").read_text() == "a.jpg"
        assert undo_plan("undo").done == 2
        assert files("f") == {"f/a.jpg": "a.jpg", "f/a.xmp": "a.xmp"}
        assert os.listdir(other) == []


def test_nothing_is_ever_replaced(way):
    write("a.jpg", "a.xmp", "b.jpg")
    write("reject/a.xmp", folder="to")
    outcome = apply_plan([planned("f/a.jpg"), planned("f/b.jpg")], "to", "undo")
    assert outcome.done == 1  # b; a stays with its sidecar, whose place is taken
    assert outcome.problems == [f"{os.path.abspath('f/a.xmp')}: {os.path.abspath('to/reject/a.xmp')} is there already"]
    write("b.jpg")
    Path("f/b.jpg").write_text("another b")
    assert "is another file" in undo_plan("undo").problems[0]
    assert files() == {
        "f/a.jpg": "a.jpg",
        "f/a.xmp": "a.xmp",
        "f/b.jpg": "another b",
        "to/reject/a.xmp": "reject/a.xmp",
        "to/reject/b.jpg": "b.jpg",
    }
    assert os.path.exists("undo")  # b can still be brought back


def test_a_file_that_comes_into_the_way_meanwhile_is_not_replaced(way):
    write("a.jpg", "g/b.jpg")
    with pytest.raises(FileExistsError):
        moving.move(os.path.abspath("f/a.jpg"), os.path.abspath("f/g/b.jpg"), os.path.abspath("f/g/part"))
    assert files() == {"f/a.jpg": "a.jpg", "f/g/b.jpg": "g/b.jpg"}


def test_a_file_that_changes_while_it_is_copied_stays(across, monkeypatch):
    write("a.jpg")
    copyfileobj = moving.shutil.copyfileobj

    def slowly(reader, writer, length):
        copyfileobj(reader, writer, length)
        Path("f/a.jpg").write_text("changed")

    monkeypatch.setattr(moving.shutil, "copyfileobj", slowly)
    assert "it changed while it was copied" in apply_plan([planned("f/a.jpg")], "to", "undo").problems[0]
    assert files() == {"f/a.jpg": "changed"}


def test_a_copy_that_differs_is_thrown_away(across, monkeypatch):
    """As from a drive or a cable that spoils bytes."""
    write("a.jpg")
    monkeypatch.setattr(moving.shutil, "copyfileobj", lambda reader, writer, length: writer.write(b"A.jpg"))
    assert apply_plan([planned("f/a.jpg")], "to", "undo").problems
    assert files() == {"f/a.jpg": "a.jpg"}


def test_a_full_disk_leaves_the_picture_where_it_is(across, monkeypatch):
    write("a.jpg", "a.xmp", "b.jpg")

    def full(reader, writer, length):
        writer.write(reader.read(1))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(moving.shutil, "copyfileobj", full)
    outcome = apply_plan([planned("f/a.jpg"), planned("f/b.jpg")], "to", "undo")
    assert [problem.split(": ")[1] for problem in outcome.problems] == ["No space left on device"] * 2
    assert files() == {"f/a.jpg": "a.jpg", "f/a.xmp": "a.xmp", "f/b.jpg": "b.jpg"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("size", [10, 200])
def test_a_disk_that_is_too_full_for_the_undo_file_is_told_and_nothing_moves(size):
    import resource

    write("a.jpg", "b.jpg")
    plan = [planned("f/a.jpg"), planned("f/b.jpg")]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: 'undo'"):
            apply_plan(plan, "to", "undo")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files() == {"f/a.jpg": "a.jpg", "f/b.jpg": "b.jpg"}
    if size > 100:  # what was written whole is gone on with
        assert apply_plan(plan, "to", "undo").done == 2


def test_a_link_to_what_was_moved_is_not_taken_for_a_second_copy(way):
    """Taking the moved file for a spare one would lose the picture."""
    write("a.jpg")
    plan = [planned("f/a.jpg")]
    apply_plan(plan, "to", "undo")
    os.symlink(os.path.abspath("to/reject/a.jpg"), "f/a.jpg")
    assert undo_plan("undo").problems
    assert apply_plan(plan, "to", "undo").problems
    assert Path("to/reject/a.jpg").read_text() == "a.jpg"
    os.unlink("f/a.jpg")
    write("a.jpg", folder="elsewhere")
    os.symlink(os.path.abspath("elsewhere/a.jpg"), "f/a.jpg")  # to an equal file: not ours to rely on
    assert undo_plan("undo").problems
    assert Path("to/reject/a.jpg").read_text() == "a.jpg"
    os.unlink("f/a.jpg")
    os.rmdir("f")
    os.symlink(os.path.abspath("to/reject"), "f")  # the same name twice
    assert undo_plan("undo").problems
    assert Path("to/reject/a.jpg").read_text() == "a.jpg"


def test_what_is_shared_follows_the_better_decision():
    write("a.jpg", "a.heic", "a.xmp", "b.jpg", "b.png", "b.xmp", "c.jpg", "c.tif", "c.xmp")
    plan = [planned("f/a.jpg"), planned("f/a.heic", LOOK), planned("f/b.jpg"), planned("f/c.jpg"), planned("f/c.tif")]
    groups = {os.path.basename(group[0].source): len(group) for group in steps_of(plan, "/to", list(Decision))}
    assert groups == {"a.heic": 2, "a.jpg": 1, "b.jpg": 1, "c.jpg": 2, "c.tif": 1}  # b.png is in no plan, and stays


def test_two_files_for_one_place_are_refused():
    write("a.jpg", "g/a.jpg")
    with pytest.raises(PlanError, match=r"would both become .*give one of them another `name`"):
        apply_plan([planned("f/a.jpg"), planned("f/g/a.jpg", name="a.jpg")], "to", "undo")
    assert not os.path.exists("undo")


def test_what_cannot_be_moved_is_told():
    write("a.jpg", "real.jpg")
    os.symlink("real.jpg", "f/link.jpg")
    outcome = apply_plan([planned("f/gone.jpg"), planned("f/link.jpg"), planned("nowhere/x.jpg")], "to", "undo")
    assert [problem.split(": ")[1] for problem in outcome.problems] == [
        "it is gone",
        "it is a link, a folder or a pipe, and stays",
        "it is gone",
    ]


@pytest.mark.parametrize("text", ["path,score\n", '{"kind": "other"}\n', "\n", '{"kind": "qfm-metric cull"}\n'])
def test_another_file_is_no_undo_file_and_stays_as_it_is(text):
    Path("undo").write_text(text)
    write("a.jpg")
    for act in (lambda: undo_plan("undo"), lambda: apply_plan([planned("f/a.jpg")], "to", "undo")):
        with pytest.raises(UndoError, match="expected an undo file"):
            act()
    assert Path("undo").read_text() == text
    assert files() == {"f/a.jpg": "a.jpg"}


def test_an_undo_file_cut_at_any_byte_brings_back_what_was_moved_by_it():
    plan = small_plan()
    before = files()
    apply_plan(plan, "to", "undo")
    whole = Path("undo").read_bytes()
    undo_plan("undo")
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole), 7):
        Path("undo").write_bytes(whole[:length])  # as a crash leaves it, before anything was moved
        assert apply_plan(plan, "to", "undo").done == 5
        assert undo_plan("undo").done == 5
        assert files() == before


def test_an_undo_file_goes_on_though_a_file_stands_where_a_folder_was_to_be():
    write("a.jpg", "b.jpg")
    assert apply_plan([planned("f/a.jpg")], "to", "undo").done == 1
    Path("notes").write_text("mine")
    assert len(apply_plan([planned("f/b.jpg")], "notes", "undo").problems) == 1
    assert apply_plan([planned("f/b.jpg")], "to", "undo").done == 1
    outcome = undo_plan("undo")
    assert (outcome.done, outcome.problems) == (2, [])
    assert files() == {"f/a.jpg": "a.jpg", "f/b.jpg": "b.jpg"}


def test_two_runs_do_not_use_one_undo_file():
    write("a.jpg")
    with UndoFile("undo", link=False), pytest.raises(UndoError, match="another run is using it"):
        apply_plan([planned("f/a.jpg")], "to", "undo")
