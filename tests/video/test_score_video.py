"""`score_video`: which frames of a film are taken, as what they are seen, and what they come to."""

import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from helpers.films import film, grey, turn
from helpers.mean import Mean
from helpers.torch_state import STATES

from qfm_metric import VideoError, score_video
from qfm_metric.folder.row import Row
from qfm_metric.video import VideoScore
from qfm_metric.video.frames import Frames

CODED = 3  # levels: 4:2:0 and a lossy codec, on flat colours
SCORE = CODED / 255


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def times(path, fps=1.0):
    return pytest.approx([frame.time for frame in Frames(path, fps)], abs=1e-3)  # containers count in milliseconds


def pixels_of(path):
    return [frame.pixels for frame in Frames(path)]


def halves(top, bottom, width=128, height=72):
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[: height // 2], picture[height // 2 :] = top, bottom
    return picture


def test_a_frame_a_second_is_scored_and_summed_up():
    film("a.mp4", [grey(51)] * 20 + [grey(61)] * 15)
    found = score_video("a.mp4", Mean())
    assert [row.path for row in found.rows] == [f"a.mp4#t={second}.000" for second in range(4)]
    assert found.scores == pytest.approx([0.2, 0.2, 61 / 255, 61 / 255], abs=SCORE)
    assert (found.rows[0].width, found.rows[0].height, found.rows[0].note) == (128, 72, None)
    assert found.damaged == 0


def test_the_summary_is_that_of_the_scores():
    scores = [0.5] * 17 + [0.1, 0.3, 0.9]
    found = VideoScore([Row("a", score) for score in scores], list(range(20)))
    assert found.mean == pytest.approx(sum(scores) / 20)
    assert found.lowest_tenth == pytest.approx(0.2)
    assert found.deviation == pytest.approx(np.std(scores))
    assert found.best == 19
    assert VideoScore([Row("a", 0.4)], [0.0]).lowest_tenth == 0.4


@pytest.mark.parametrize("state", STATES)
def test_a_film_is_the_same_in_every_state_of_torch(small_metric, state):
    path = film("clip.mkv", [np.random.default_rng(0).integers(0, 256, (72, 128, 3), dtype=np.uint8)])
    expected = score_video(path, small_metric).scores
    with STATES[state]():
        assert score_video(path, small_metric).scores == expected


@pytest.mark.parametrize(("fps", "wanted"), [(2, [0, 0.5, 1, 1.5]), (0.5, [0]), (100, [i / 10 for i in range(20)])])
def test_the_rate_says_how_many(fps, wanted):
    film("a.mp4", [grey(51)] * 20)
    assert wanted == times("a.mp4", fps)


def test_each_scene_has_its_first_frame_and_its_own_beat():
    film("a.mp4", [grey(20)] * 13 + [grey(120)] * 15 + [grey(220)] * 6)
    assert times("a.mp4") == [0, 1, 1.3, 2.3, 2.8]


def test_movement_short_flashes_and_fades_are_no_scenes():
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (9, 60, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
    film("pan.mp4", [wide[:, 2 * i : 2 * i + 128] for i in range(30)])
    assert times("pan.mp4") == [0, 1, 2]
    loud = np.kron(rng.integers(0, 170, (9, 80, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
    film("fast.mp4", [loud[:, 16 * i : 16 * i + 128] for i in range(30)])  # each frame differs by more than a cut asks
    assert times("fast.mp4") == [0, 1, 2]
    film("flash.mp4", [grey(20)] * 2 + [grey(220), grey(20)] + [grey(20)] * 16)
    assert times("flash.mp4") == [0, 1]
    film("fade.mp4", [grey(8 * i) for i in range(30)])
    assert times("fade.mp4") == [0, 1, 2]


def test_a_variable_rate_is_followed_by_its_times():
    film("a.mkv", [grey(51)] * 7, times=[0, 100, 2500, 2600, 3550, 9000, 9100])
    assert times("a.mkv") == [0, 2.5, 3.55, 9]


def test_recordings_that_were_joined_are_seen_as_one_film():
    """Cameras write MPEG-TS in pieces, which people join with `cat`: the times of each begin anew."""
    for name in ("a.ts", "b.ts"):
        film(name, [grey(100 + i % 3) for i in range(30)])
    Path("joined.ts").write_bytes(Path("a.ts").read_bytes() + Path("b.ts").read_bytes())
    assert [round(frame.time) for frame in Frames("joined.ts")] == [0, 1, 2, 3, 4, 5]


def test_colours_come_back_with_and_without_a_label():
    picture = halves((255, 0, 0), (0, 0, 255))
    film("small.mp4", [picture])  # BT.601, as of a film without a label
    film("labelled.mp4", [picture], colorspace=5)
    for name in ("small.mp4", "labelled.mp4"):
        (seen,) = pixels_of(name)
        assert np.abs(seen[18, 64].astype(int) - (255, 0, 0)).max() <= CODED
        assert np.abs(seen[54, 64].astype(int) - (0, 0, 255)).max() <= CODED


def test_a_large_film_without_a_label_is_of_bt709():
    import av

    picture = av.VideoFrame.from_ndarray(halves((255, 0, 0), (0, 255, 0), 1280, 720), "rgb24")
    film("a.mkv", [picture.reformat(format="yuv420p", dst_colorspace=1)], codec="ffv1")
    (seen,) = pixels_of("a.mkv")
    assert np.abs(seen[180, 640].astype(int) - (255, 0, 0)).max() <= CODED
    assert np.abs(seen[540, 640].astype(int) - (0, 255, 0)).max() <= CODED


def test_a_film_that_was_held_upright_is_seen_upright():
    film("a.mp4", [halves((255, 0, 0), (0, 0, 255))])
    turn("a.mp4")
    (seen,) = pixels_of("a.mp4")
    assert seen.shape == (128, 72, 3)
    assert seen[64, 54, 0] > 250  # what was at the top is on the right: turned clockwise
    assert seen[64, 18, 2] > 250


def test_pixels_that_are_not_square_are_made_so():
    film("a.mp4", [grey(51)], sample_aspect_ratio=2)
    (seen,) = pixels_of("a.mp4")
    assert seen.shape == (72, 256, 3)


def hdr(path, signal, transfer):
    """A film of 10 bits whose pixels all have this signal, in [0, 1]."""
    import av

    picture = np.full((72, 128, 3), round(signal * 65535), dtype=np.uint16)
    frame = av.VideoFrame.from_ndarray(picture, "rgb48le").reformat(format="yuv420p10le", dst_colorspace=9)
    frame.colorspace, frame.color_trc, frame.color_primaries = 9, transfer, 9
    film(path, [frame], codec="ffv1", pixels="yuv420p10le", colorspace=9, color_trc=transfer, color_primaries=9)


@pytest.mark.parametrize(
    ("transfer", "name", "signal", "wanted"),
    [
        (16, "PQ", 0.0, 0),
        (16, "PQ", 0.3762, 99),  # 26 cd/m2, 18 % grey under white paper: unchanged, .128 of linear light
        (16, "PQ", 0.5807, 237),  # 203 cd/m2, white paper: .85 of linear light
        (16, "PQ", 0.7518, 255),  # 1,000 cd/m2
        (16, "PQ", 1.0, 255),
        (18, "HLG", 0.0, 0),
        (18, "HLG", 0.75, 237),  # white paper, by BT.2408
        (18, "HLG", 1.0, 255),
    ],
)
def test_a_film_of_high_dynamic_range_is_mapped_to_srgb(transfer, name, signal, wanted):
    hdr("a.mkv", signal, transfer)
    (frame,) = Frames("a.mkv")
    assert frame.note == f"HDR ({name}), mapped to sRGB"
    # One of 1,023 levels of the signal is up to 2 of 255 here; the signals above are rounded to four decimals.
    assert np.abs(frame.pixels.astype(int) - wanted).max() <= 3


class Noting(Mean):
    def rate(self, views, maps=False, descriptors=False):
        return [rating._replace(note="not a photograph") for rating in super().rate(views, maps)]


def test_rows_note_what_the_decoder_did_before_what_the_metric_says():
    hdr("hdr.mkv", 0.3, 16)
    film("plain.mkv", [grey(90)])
    notes = [score_video(name, Noting()).rows[0].note for name in ("hdr.mkv", "plain.mkv")]
    assert notes == ["HDR (PQ), mapped to sRGB", "not a photograph"]


def test_saturated_colours_of_bt2020_stay_in_their_hue():
    from qfm_metric.video.hdr import to_srgb

    red = np.array([[[0.55, 0.2, 0.2]]]) * 65535
    seen = to_srgb(red.astype(np.uint16), "PQ")[0, 0].astype(int)
    assert seen[0] > 100 > seen[1] == seen[2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected a film, got an empty file"),
        (b"no film" * 100, "expected a film, got text: 'no film"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "expected a film, got a Git LFS pointer"),
        (b"<!DOCTYPE html>", "expected a film, got an HTML page"),
        (bytes(2000), "expected a film, got nothing but bytes of zero"),
        (b"\0\0\0\x18ftypisom" + bytes(2000), "expected a film, but FFmpeg stopped with: .*; if it is one, copy"),
        (None, "expected a file, found none; check the path"),
    ],
)
def test_what_is_no_film_is_told(content, says):
    if content is not None:
        Path("a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=f"'a.mp4': {says}"):
        score_video("a.mp4", Mean())


@pytest.mark.parametrize(
    "name", ["10:30.mp4", "concat:a.mp4", "http:b.mp4", "file:b.mp4", "q?a=b#c %d.mp4", "größe.mp4"]
)
def test_a_name_that_looks_like_an_address_is_that_of_a_file(name):
    film("a.mp4", [grey(51)] * 3)
    film("other.mp4", [grey(153)] * 3)
    os.rename("other.mp4", name)
    assert score_video(name, Mean()).mean == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pipe.mp4", "expected a file, got a pipe"),  # which would be waited for
        ("folder.mp4", "got a folder"),
        ("http://localhost/a.mp4", "expected a path, got an address"),
    ],
)
def test_what_is_no_file_is_told_and_not_opened(name, says):
    os.mkfifo("pipe.mp4")
    os.mkdir("folder.mp4")
    with pytest.raises(VideoError, match=f"'{name}': .*{says}"):
        score_video(name, Mean())


KINDS = {"mkv": {}, "avi": {}, "mov": {"movflags": "faststart"}, "mp4": {"movflags": "frag_keyframe+empty_moov"}}
KINDS["ts"] = KINDS["live.mkv"] = {"live": "1"}  # Matroska that does not say how long it is; MPEG-TS never does


def noisy(name):
    """A film of four seconds."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (72, 128, 3), dtype=np.uint8) for _ in range(40)]
    film(f"a.{name}", frames, options={"g": "5"}, container_options=KINDS[name])
    return Path(f"a.{name}")


@pytest.mark.parametrize("end", ["cut off", "zeros"])
@pytest.mark.parametrize("name", KINDS)
def test_a_film_cut_off_is_scored_as_far_as_it_goes_and_called_damaged(name, end):
    path = noisy(name)
    assert score_video(path, Mean()).damaged == 0
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(half if end == "zeros" else 0))
    found = score_video(path, Mean())
    assert 1 <= len(found.rows) <= 3
    if (name, end) not in {("ts", "cut off"), ("live.mkv", "cut off")}:  # of which nobody can tell
        assert found.damaged > 0


def test_a_film_that_is_cut_off_while_it_is_scored_is_called_damaged():
    path = noisy("mkv")
    found = score_video(path, Mean(), fps=10, take=lambda row, pixels: os.truncate(path, 40_000))
    assert found.damaged > 0
    path = noisy("mkv")
    assert score_video(path, Mean(), take=lambda row, pixels: path.unlink(missing_ok=True)).damaged == 0


def test_a_film_without_its_table_of_contents_is_refused():
    film("b.mp4", [grey(51)] * 20)
    Path("b.mp4").write_bytes(Path("b.mp4").read_bytes()[:-300])  # an MP4 file has its table of contents at the end
    with pytest.raises(VideoError, match="expected a film"):
        score_video("b.mp4", Mean())


def test_damage_inside_is_passed_over_and_counted():
    rng = np.random.default_rng(0)
    film("a.mp4", [rng.integers(0, 255, (72, 128, 3), dtype=np.uint8) for _ in range(40)], options={"g": "5"})
    data = bytearray(Path("a.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    third = (len(data) - start) // 3
    data[start + third : start + third + 40_000] = bytes(40_000)
    Path("a.mp4").write_bytes(data)
    found = score_video("a.mp4", Mean())
    assert found.damaged > 0
    assert found.times[-1] >= 2.5  # it went on behind the damage


def test_frames_that_are_too_large_are_refused(monkeypatch):
    film("a.mp4", [grey(51)] * 3)
    monkeypatch.setattr("qfm_metric.video.frames.MOST_PIXELS", 128 * 72 - 1)
    with pytest.raises(VideoError, match="got none that can be decoded"):
        score_video("a.mp4", Mean())


def test_sound_alone_is_no_film():
    import av

    with av.open("a.m4a.mp4", "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="got a file without pictures"):
        score_video("a.m4a.mp4", Mean())


def test_frames_are_held_one_at_a_time():
    film("a.mp4", [grey(51)] * 60)
    held = []
    for frame in Frames("a.mp4", 10):
        held.append(weakref.ref(frame.pixels))
        assert sum(ref() is not None for ref in held) <= 2  # this one, and the one before until it is replaced


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(fps):
    with pytest.raises(ValueError, match="fps: expected more than 0 frames a second"):
        score_video("a.mp4", Mean(), fps=fps)


@pytest.mark.parametrize("fps", ["2", None, True])
def test_a_rate_that_is_no_number_is_named(fps):
    with pytest.raises(TypeError, match="fps: expected a number of frames a second, got"):
        score_video("a.mp4", Mean(), fps=fps)


def test_what_is_no_metric_is_refused_before_a_film_is_opened():
    for metric, name in ((Mean, "the class Mean"), ("qfm-lite0-v4", "str")):
        with pytest.raises(TypeError, match=f"metric: expected .*{name}"):
            score_video("a.mp4", metric)


def test_a_film_may_have_a_name_that_is_no_text():
    name = os.fsdecode(b"bad\xff.mkv")
    film("a.mkv", [grey(51)])
    os.rename("a.mkv", name)
    assert score_video(name, Mean()).rows[0].path == f"{name}#t=0.000"
