"""Sidecars beside pictures: which file, what is in it, and what exiftool reads back."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from qfm_metric.folder.row import Row
from qfm_metric.ratings.sidecars import SidecarError, Sidecars


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("f").mkdir()


def exiftool(path, *options):
    """The tags of a file as exiftool reads them, without its own groups."""
    if not shutil.which("exiftool"):
        pytest.skip("no exiftool")  # CI installs it, and takes no skip
    done = subprocess.run(["exiftool", "-j", "-G1", *options, path], capture_output=True, text=True, check=True)
    return {name: value for name, value in json.loads(done.stdout)[0].items() if name.startswith("XMP-")}


def test_exiftool_reads_stars_label_and_score_back():
    sidecars = Sidecars(signature='the "signature" of <ünicode> & more')
    path = sidecars.write(Row("f/a.jpg", 0.65, 0.0912))
    found = exiftool(path)
    assert found == {
        "XMP-x:XMPToolkit": "qfm-metric",
        "XMP-xmp:Rating": 4,
        "XMP-xmp:Label": "Green",
        "XMP-qfm:Score": 0.65,
        "XMP-qfm:Std": 0.0912,
        "XMP-qfm:Rating": 4,
        "XMP-qfm:Label": "Green",
        "XMP-qfm:Signature": 'the "signature" of <ünicode> & more',
    }


def test_what_exiftool_wrote_stays_and_what_we_wrote_it_can_change():
    path = "f/a.jpg.xmp"
    tags = ["-XMP-dc:Subject=sea", "-XMP-dc:Subject=größe", "-XMP-xmp:CreatorTool=x", "-XMP-dc:Title=A title"]
    exiftool_write(path, *tags)
    before = exiftool(path)
    Sidecars().write(Row("f/a.jpg", 0.3))
    after = exiftool(path)
    assert {name: after[name] for name in before} == before
    assert (after["XMP-xmp:Rating"], after["XMP-xmp:Label"]) == (2, "Red")
    exiftool_write(path, "-XMP-xmp:Rating=5")
    sidecars = Sidecars()
    sidecars.write(Row("f/a.jpg", 0.9))
    assert sidecars.kept == 1
    assert exiftool(path)["XMP-xmp:Rating"] == 5
    assert exiftool(path)["XMP-qfm:Score"] == 0.9


def exiftool_write(path, *tags):
    if not shutil.which("exiftool"):
        pytest.skip("no exiftool")
    subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, path], check=True)


def rating(path):
    text = Path(path).read_text()
    return text.split('xmp:Rating="')[1].split('"')[0] if "xmp:Rating" in text else None


def test_our_own_stars_follow_the_score_and_a_persons_stay():
    sidecars = Sidecars()
    path = sidecars.write(Row("f/a.jpg", 0.3))
    assert rating(path) == "2"
    sidecars.write(Row("f/a.jpg", 0.9))
    assert (rating(path), sidecars.kept) == ("5", 0)
    once = Path(path).read_bytes()
    Path(path).write_bytes(once.replace(b'xmp:Rating="5"', b'xmp:Rating="-1"'))
    sidecars.write(Row("f/a.jpg", 0.5))
    assert (rating(path), sidecars.kept) == ("-1", 1)
    assert 'qfm:Score="0.5000"' in Path(path).read_text()
    assert 'xmp:Label="Green"' in Path(path).read_text()  # belongs to the stars that stayed
    Sidecars(replace=True).write(Row("f/a.jpg", 0.5))
    assert rating(path) == "3"


def test_a_picture_with_an_error_gets_no_sidecar():
    assert Sidecars().write(Row("f/a.jpg", error="no picture")) is None
    assert os.listdir("f") == []


def test_pictures_of_one_stem_do_not_share_a_sidecar():
    for name in ("a.jpg", "b.jpg", "b.PNG", "b.cr3"):
        Path("f", name).touch()
    sidecars = Sidecars(stem=True)
    paths = [sidecars.write(Row(f"f/{name}", 0.5)) for name in ("a.jpg", "b.jpg", "b.PNG")]
    assert [os.path.basename(path) for path in paths] == ["a.xmp", "b.jpg.xmp", "b.PNG.xmp"]
    assert sidecars.shared == 2
    assert os.path.basename(Sidecars().write(Row("f/a.jpg", 0.5))) == "a.jpg.xmp"


def test_a_sidecar_that_is_a_link_or_has_its_own_mode_keeps_both():
    Sidecars().write(Row("f/a.jpg", 0.3))
    os.chmod("f/a.jpg.xmp", 0o640)
    os.rename("f/a.jpg.xmp", "f/real")
    os.symlink("real", "f/a.jpg.xmp")
    Sidecars().write(Row("f/a.jpg", 0.9))
    assert os.readlink("f/a.jpg.xmp") == "real"
    assert os.stat("f/real").st_mode & 0o777 == 0o640
    assert rating("f/real") == "5"


def test_what_is_no_xmp_stays_as_it_is():
    Path("f/a.jpg.xmp").write_text("mine")
    with pytest.raises(SidecarError, match=r"a\.jpg\.xmp: expected XML: .*; it stays as it is"):
        Sidecars().write(Row("f/a.jpg", 0.3))
    assert os.listdir("f") == ["a.jpg.xmp"]
    assert Path("f/a.jpg.xmp").read_text() == "mine"


def test_a_sidecar_that_is_right_already_is_not_written_again():
    path = Sidecars().write(Row("f/a.jpg", 0.3))
    os.utime(path, (10**9, 10**9))
    Sidecars().write(Row("f/a.jpg", 0.3))
    assert os.stat(path).st_mtime == 10**9
