"""The folder's way through: the same scores as single calls, in order, whatever some files do to their readers."""

import os
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import numpy as np
import pandas
import polars
import pytest
import torch
from helpers.generated_files import WAYS, generate
from helpers.mean import Mean
from helpers.pictures import grey
from helpers.published import TINY
from PIL import Image

from qfm_metric import (
    EncodedImage,
    GuardedScore,
    ImageError,
    QFMScore,
    as_table,
    group_rows,
    load_image,
    score_files,
    score_folder,
)
from qfm_metric.config import QFMConfig
from qfm_metric.folder.one_file import OneFile
from qfm_metric.folder.pool import on_gpu
from qfm_metric.folder.row import COLUMNS, Row
from qfm_metric.folder.tiles import split_tiles
from qfm_metric.model import QFMNet
from qfm_metric.views import SMALL

SIZES = [(64, 64), (96, 128), (128, 96), (200, 150), (64, 300), (97, 61), (1300, 900)]


class Cramped(Mean):
    """A metric with too little memory for dark pictures, as torch says it, and broken for black ones."""

    def rate(self, views, maps=False, descriptors=False):
        if self.of(views[0]) == 0:
            raise RuntimeError("another fault")
        if self.of(views[0]) < 0.5:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return super().rate(views, maps, descriptors)


def count_up():
    """Names of files that are not there, without end."""
    return (f"{number}.png" for number in count())


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return QFMScore(QFMNet(QFMConfig(**TINY, uncertainty=True)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 files, a fifth of them broken, in ten ways."""
    return generate(tmp_path_factory.mktemp("generated"), 60, SIZES, broken=0.2)


@pytest.fixture(scope="module")
def expected(folder, tiny):
    """What single calls say, with one thread as in a worker process: sums depend on how they are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for path in folder:
        try:
            image = load_image(path)
        except ImageError as error:
            rows.append(Row(path, error=str(error)))
        else:
            found = tiny.assess(image)
            assert found.score.item() == tiny(image).item()
            rows.append(Row(path, found.score.item(), found.std.item(), image.shape[2], image.shape[1]))
    yield rows
    torch.set_num_threads(before)


def test_the_folder_is_what_it_should_be(expected):
    broken = [row for row in expected if row.error]
    assert len(expected) == 60
    assert len(broken) in (11, 12)  # one has no permission, which root does not need
    assert len({row.error.split(": ", 1)[1] for row in broken}) >= 6
    assert len(WAYS) >= 8
    assert any(row.width and row.width * row.height > SMALL for row in expected)


def test_deviations_are_there(expected):
    """The rows of this file are compared whole."""
    stds = {row.std for row in expected if row.score is not None}
    assert len(stds) > 40
    assert all(std > 0 for std in stds)


def test_rows_are_those_of_single_calls(folder, tiny, expected):
    assert list(score_files(folder, tiny)) == expected


def save(folder, **pictures):
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in pictures]


@pytest.mark.parametrize("tile", [None, 64])
def test_blank_pictures_are_noted_and_others_are_not(tmp_path, tiny, tile):
    noise = np.random.default_rng(0).integers(0, 256, (200, 150, 4), np.uint8)
    grey, late = np.full((200, 150, 3), 120, np.uint8), np.full((200, 150, 3), 120, np.uint8)
    late[199, 149] += 4  # in the last strip
    transparent, drawn = noise.copy(), np.full((200, 150, 4), 255, np.uint8)
    transparent[..., 3] = 0
    drawn[90:110, :, 3] = 40  # white over white
    black_on_nothing = transparent.copy()
    black_on_nothing[:20] = (0, 0, 0, 255)
    paths = save(
        tmp_path,
        grey=grey,
        nearly=grey + (noise[..., :3] % 3),
        bits=np.zeros((200, 150), np.uint16) + 40000,
        transparent=transparent,
        drawn=drawn,
        late=late,
        noise=noise[..., :3],
        black=black_on_nothing,
    )
    notes = {Path(row.path).stem: row.note for row in score_files(paths, tiny, tile=tile)}
    assert {name for name, note in notes.items() if note == "blank"} == {
        "grey",
        "nearly",
        "bits",
        "transparent",
        "drawn",
    }
    assert {notes[name] for name in ("late", "noise", "black")} == {None}


@pytest.mark.slow
def test_worker_processes_give_the_same_rows(folder, tiny, expected):
    assert list(score_files(folder, tiny, workers=2, room=200_000)) == expected  # less room than the largest picture


def test_threads_and_batches_give_the_same_rows(folder, tiny, expected):
    """The way on a GPU, walked on the CPU."""
    one_file = OneFile(tiny)
    for workers, batch_size in ((1, 1), (3, 7), (2, 500)):
        assert list(on_gpu(iter(folder), one_file, workers, batch_size, 200_000)) == expected


def test_paths_are_taken_as_they_are_needed(tmp_path):
    Image.new("L", (8, 8), 51).save(tmp_path / "a.png")
    taken = count()
    rows = score_files((tmp_path / "a.png" for _ in taken), Mean())
    assert [row.score for row in islice(rows, 3)] == pytest.approx([0.2] * 3)
    assert next(taken) <= 4
    one_file = OneFile(Mean())
    rows = on_gpu((str(tmp_path / "a.png") for _ in taken), one_file, 2, 4, 2**20)
    assert [row.score for row in islice(rows, 9)] == pytest.approx([0.2] * 9)
    rows.close()
    assert next(taken) < 40


def test_tiles_cover_the_picture_once():
    pixels = np.arange(500 * 330).reshape(500, 330)
    tiles = split_tiles(pixels, 100)
    assert [tile.shape for tile in tiles[:3]] == [(100, 110)] * 3
    assert len(tiles) == 15
    assert sorted(np.concatenate([tile.ravel() for tile in tiles])) == list(range(500 * 330))
    assert [tile.shape for tile in split_tiles(pixels, 600)] == [(500, 330)]


def test_tiles_are_scored_as_pictures_of_their_own(tmp_path, tiny):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    image.paste(0, (0, 0, 100, 100))
    image.save(tmp_path / "a.png")
    boxes = [(x, y, x + 100, y + 100) for y in (0, 100) for x in (0, 100, 200)]
    scores = [tiny(load_image(image.crop(box))).item() for box in boxes]
    (row,) = score_files([tmp_path / "a.png"], tiny, tile=100)
    assert (row.width, row.height) == (300, 200)
    assert row.score == pytest.approx(sum(scores) / 6, abs=1e-6)
    assert row.extra["lowest"] == pytest.approx(min(scores), abs=1e-6)
    one_file = OneFile(tiny, 100)
    assert list(on_gpu(iter([row.path]), one_file, 2, 4, 2**20)) == [row]


def test_a_guarded_score_scores_a_folder(tiny, folder):
    """In this process, in others, in batches as on a GPU; each tile as a picture of its own."""
    torch.manual_seed(1)
    robust = QFMScore(QFMNet(QFMConfig(**TINY, view_pixels=64 * 64, uncertainty=True)))
    guarded = GuardedScore(tiny, robust, margin=(-0.01, 0.01))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    paths = [path for path in folder[:24] if not path.endswith("folder.png")]
    rows = list(score_files(paths, guarded))
    readable = [row for row in rows if not row.error]
    assert 15 < len(readable) < len(rows)
    held = 0
    for row in readable:
        image = load_image(row.path)
        assert row.score == guarded(image).item()
        is_held = row.score < tiny(image).item()
        assert row.std == (robust if is_held else tiny).assess(image).std.item()
        held += is_held
    assert 0 < held < len(readable)
    assert list(score_files(paths, guarded, workers=2)) == rows
    assert list(on_gpu(iter(paths), OneFile(guarded), 2, 5, 200_000)) == rows

    pixels = np.asarray(Image.open(paths[0]).convert("RGB").resize((300, 200)))
    Image.fromarray(pixels).save(tiles := paths[0] + ".tiles.png")
    scores = [guarded(load_image(Image.fromarray(tile))).item() for tile in split_tiles(pixels, 100)]
    (row,) = score_files([tiles], guarded, tile=100)
    os.unlink(tiles)
    assert len(scores) == 6
    assert row.score == pytest.approx(sum(scores) / 6, abs=1e-6)  # a sum in double precision
    assert row.extra["lowest"] == min(scores)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("metric", [torch.nn.Identity(), lambda images: images.mean(), "qfm-lite0-v4", QFMScore])
def test_what_is_no_metric_is_refused_before_a_file_is_read(metric):
    with pytest.raises(TypeError, match=r"metric: expected .* metric.*, got "):
        score_files(["missing.png"], metric)


def test_an_encoded_image_has_a_name():
    assert EncodedImage(Path("a.png"), b"").path == "a.png"
    with pytest.raises(TypeError, match="path: expected what the picture is called, got NoneType"):
        EncodedImage(None, b"")


@pytest.mark.parametrize("path", ["a.png", b"a.png", Path("a.png"), EncodedImage("a.png", b"")])
def test_a_path_alone_is_one_file(path):
    assert [row.path for row in score_files(path, Mean())] == ["a.png"]


@pytest.mark.parametrize("options", [{}, {"workers": 2}])
def test_rows_can_be_given_up_by_closing_them(options):
    with closing(score_files(count_up(), Mean(), **options)) as rows:
        assert next(rows).error
    assert list(rows) == []


def test_paths_of_numpy_are_text_as_all_others():
    (row,) = score_files(np.array(["gone.png"]), Mean())
    assert type(row.path) is str
    assert row.error.startswith("'gone.png': expected a file")


def test_a_folder_alone_stands_for_the_pictures_in_it(tmp_path):
    first, deep = grey(tmp_path / "a.png"), grey(tmp_path / "deep" / "b.png", 102)
    assert [row.path for row in score_files(tmp_path, Mean())] == [first]
    assert [row.score for row in score_folder(str(tmp_path), Mean())] == pytest.approx([0.2])
    assert [row.path for row in score_folder(tmp_path, Mean(), recursive=True, workers=2)] == [first, deep]
    with pytest.raises(NotADirectoryError, match="score_files"):
        score_folder(first, Mean())


def test_rows_turn_into_frames_in_one_call(tmp_path):
    rows = [*score_files([grey(tmp_path / "a.png"), "missing.png"], Mean(), tile=64)]
    for frame in (pandas.DataFrame(as_table(rows)), polars.DataFrame(as_table(rows))):
        assert [*frame.columns] == [*COLUMNS, "lowest"]
        assert len(frame) == 2
        assert frame["score"][0] == rows[0].score
    assert [*as_table([])] == [*COLUMNS]


@pytest.mark.parametrize("path", [None, 3, torch.rand(3, 8, 8), Image.new("L", (8, 8))])
def test_what_is_no_path_is_named(path):
    with pytest.raises(TypeError, match=f"paths: expected paths .* got {type(path).__name__}"):
        list(score_files([path], Mean()))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn, "float16"])
def test_a_precision_that_networks_do_not_have_is_refused(dtype):
    with pytest.raises(ValueError, match=r"dtype: expected one of torch\.float32, .* got "):
        score_files([], Mean(), dtype=dtype)


def not_read():
    raise KeyError("a.png is not in the archive")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("text", "expected the bytes of a file, got str"),
        (lambda: None, "expected the bytes of a file, got NoneType"),
        (not_read, "expected the bytes of a file, but KeyError came: 'a.png is not in the archive'"),
    ],
)
def test_bytes_that_cannot_be_had_are_no_damaged_picture(data, says):
    [row] = score_files([EncodedImage("a.png", data)], Mean())
    assert row.error == f"'a.png': {says}"


def test_lower_precision_is_near(folder, tiny, expected):
    near = list(score_files(folder[:10], tiny, dtype=torch.bfloat16))
    moved = [abs(row.score - exact.score) for row, exact in zip(near, expected, strict=False) if exact.score]
    assert 0 < max(moved) < 0.05  # untrained networks are not what the tolerance in docs/folders.md is stated for


@pytest.mark.parametrize(
    "options",
    [
        *({"workers": 0}, {"threads": 0}, {"batch_size": 0}, {"room": 0}, {"tile": 63}, {"workers": -1}),
        *({"workers": 1025}, {"threads": 10**12}),
    ],
)
def test_options_out_of_range(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}: expected at (least|most) .*, got {value}"):
        score_files([], Mean(), **options)
    for other in (2.0, "2", True, float("nan"), *([None] if name != "tile" else [])):
        with pytest.raises(TypeError, match=f"{name}: expected an integer, got {other!r}"):
            score_files([], Mean(), **{name: other})


def test_what_cannot_be_gone_through_and_a_folder_without_a_name_are_refused():
    with pytest.raises(TypeError, match="paths: expected paths or EncodedImages, got NoneType"):
        score_files(None, Mean())
    with pytest.raises(TypeError, match="got the bytes of a file; give EncodedImage"):
        list(score_files([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"], Mean()))
    pandas = pytest.importorskip("pandas")
    for table in ({"path": ["a.png"]}, pandas.DataFrame({"path": ["a.png"]})):  # whose names of columns are text, too
        with pytest.raises(TypeError, match=r"paths: expected paths, got .*; give the column with the paths in it"):
            score_files(table, Mean())
    with pytest.raises(ValueError, match="maps: expected a folder, got an empty path"):
        score_files(["a.png"], Mean(), maps="")


@pytest.mark.parametrize("tile", [None, 64])
def test_a_picture_that_there_is_too_little_memory_for_costs_its_own_row(tmp_path, tile):
    paths = [grey(tmp_path / f"{level}.png", level) for level in (255, 51, 204)]
    rows = list(score_files(paths, Cramped(), tile=tile))
    assert [row.score for row in rows] == [1, None, pytest.approx(0.8)]
    assert rows[1].error == f"{paths[1]!r}: " + rows[1].error.partition(": ")[2]
    assert "too little is left for it; free some" in rows[1].error
    with pytest.raises(RuntimeError, match="another fault"):
        list(score_files([grey(tmp_path / "black.png", 0)], Cramped(), tile=tile))


def test_a_metric_that_fails_is_not_taken_for_a_damaged_picture(tmp_path):
    class Failing(Mean):
        def look(self, pixels):
            raise NotImplementedError("resize is not supported for 'Half'")

    (row,) = score_files([grey(str(tmp_path / "a.png"), 100)], Failing())
    assert row.error is not None
    assert "expected a metric that can look at it, but Failing stopped with NotImplementedError: resize" in row.error


class NoNumber(Mean):
    """Says nothing of what is darker than a quarter, as a network in half precision would."""

    def of(self, view):
        return super().of(view) if view.mean() > 0.25 else float("nan")


class Word(NoNumber):
    """Says a word for it."""

    def of(self, view):
        return super().of(view) if view.mean() > 0.25 else "bad"


class Percent(NoNumber):
    """Says for it what is no score."""

    def of(self, view):
        return super().of(view) if view.mean() > 0.25 else 80.0


@pytest.mark.parametrize(
    ("metric", "options", "says"),
    [
        (NoNumber(), {}, "expected a finite number, got nan"),
        (NoNumber(), {"tile": 64}, "expected a finite number, got nan"),
        (NoNumber(), {"projection": "equirect"}, "expected a finite number, got nan"),
        (Percent(), {}, "expected a score in [0, 1], got 80"),
        (Percent(), {"tile": 64}, "expected a score in [0, 1], got 80"),
        (Percent(), {"projection": "equirect"}, "expected a score in [0, 1], got 80"),
        (Word(), {}, "expected a number, got str"),
        (Word(), {"tile": 64}, "Word stopped with TypeError"),
    ],
)
def test_a_picture_of_which_a_metric_says_no_score_costs_its_own_row(tmp_path, metric, options, says):
    paths = [tmp_path / f"{level}.png" for level in (51, 102)]
    for path in paths:
        Image.new("L", (256, 128), int(path.stem)).save(path)
    failed, scored = score_files(paths, metric, **options)
    assert says in failed.error
    assert scored.score == pytest.approx(0.4, abs=0.01)  # of a panorama, views between its pixels


@pytest.mark.parametrize("call", [as_table, group_rows])
def test_what_are_no_rows_is_named(call):
    for rows in (None, ["a.jpg"], [Row("a.jpg", error="no picture"), 0.5]):
        with pytest.raises(TypeError, match=r"rows: expected Rows, as score_files yields, got (NoneType|str|float)"):
            call(rows)
