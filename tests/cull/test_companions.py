"""Which files belong to a picture."""

from qfm_metric.cull.companions import companions


def test_sidecars_and_raw_files_belong_to_their_picture():
    theirs = ["a.CR3", "a.xmp", "a.XMP", "a.CR3.xmp", "a.jpg.xmp", "a.jpg.pp3", "a.aae", "a.MOV"]
    others = ["A.cr3", "ab.xmp", "a.txt", "a.png.xmp", "a.jpg.txt", "xmp", ".xmp", "b.xmp", "a.mp4"]
    assert companions(["a.jpg"], [*theirs, *others, "a.jpg"]) == {name: ["a.jpg"] for name in theirs}


def test_pictures_of_one_stem_share_what_has_nothing_but_the_stem():
    found = companions(["a.jpg", "a.heic"], ["a.dng", "a.xmp", "a.heic.xmp", "a.dng.xmp"])
    both = ["a.heic", "a.jpg"]
    assert found == {"a.dng": both, "a.xmp": both, "a.heic.xmp": ["a.heic"], "a.dng.xmp": both}
