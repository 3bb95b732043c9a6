"""The folder's way through: the same scores as single calls, in order, whatever some files do to their readers."""

import random
import threading
from itertools import count, islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.generated_files import WAYS, generate
from helpers.mean import FATAL, FatalNet, Mean
from PIL import Image
from qfm_metric.folder.views import SMALL, preprocess_pixels, split_tiles

from qfm_metric import ImageError, QFMScore, load_image, score_files
from qfm_metric.folder import pool as files
from qfm_metric.folder.one_file import Job, Row
from qfm_metric.images import to_unit

SIZES = [(64, 64), (96, 128), (128, 96), (200, 150), (64, 300), (97, 61), (1300, 900)]


@pytest.fixture(scope="module")
def tiny(tiny_files):
    return QFMScore.from_pretrained(tiny_files[0])


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
            rows.append(Row(path, tiny(image).item(), None, image.shape[2], image.shape[1]))
    yield rows
    torch.set_num_threads(before)


def test_the_folder_is_what_it_should_be(expected):
    broken = [row for row in expected if row.error]
    assert len(expected) == 60
    assert len(broken) in (11, 12)  # one has no permission, which root does not need
    assert len({row.error.split(": ", 1)[1] for row in broken}) >= 6
    assert len(WAYS) >= 8
    assert any(row.width and row.width * row.height > SMALL for row in expected)


def test_rows_are_those_of_single_calls(folder, tiny, expected):
    assert list(score_files(folder, tiny)) == expected


@pytest.mark.slow
def test_worker_processes_give_the_same_rows(folder, tiny, expected):
    assert list(score_files(folder, tiny, workers=2, room=200_000)) == expected  # less room than the largest picture


def test_threads_and_batches_give_the_same_rows(folder, tiny, expected):
    """The way on a GPU, walked on the CPU."""
    job = Job(tiny, None, torch.float32)
    for workers, batch_size in ((1, 1), (3, 7), (2, 500)):
        assert list(files._on_gpu(iter(folder), job, workers, batch_size, 200_000)) == expected


def test_paths_are_taken_as_they_are_needed(tmp_path):
    Image.new("L", (8, 8), 51).save(tmp_path / "a.png")
    taken = count()
    rows = score_files((tmp_path / "a.png" for _ in taken), Mean())
    assert [row.score for row in islice(rows, 3)] == pytest.approx([0.2] * 3)
    assert next(taken) <= 4
    job = Job(Mean(), None, torch.float32)
    rows = files._on_gpu((str(tmp_path / "a.png") for _ in taken), job, 2, 4, 2**20)
    assert [row.score for row in islice(rows, 9)] == pytest.approx([0.2] * 9)
    rows.close()
    assert next(taken) < 40


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_row(tmp_path, capfd):
    paths = []
    for i in range(14):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("L", (FATAL if i == 5 else 8, 8), 10 * i).save(paths[-1])
    rows = list(score_files(paths, Mean(FatalNet()), workers=2))
    assert [row.path for row in rows] == paths
    assert [row.score for row in rows if row.path != paths[5]] == pytest.approx(
        [10 * i / 255 for i in range(14) if i != 5], abs=1e-6
    )
    assert rows[5].score is None
    assert "crashed" in rows[5].error
    assert paths[5] in rows[5].error


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run(capfd):
    with pytest.raises(RuntimeError, match="workers=1"):
        list(score_files(["a.png"], Unloadable(), workers=2))


class Unloadable(Mean):
    """Can be pickled, but not unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def test_room_is_never_exceeded():
    room = files._Room(10, threading.Condition(), SimpleNamespace(value=10))
    inside, most, lock, rng = [], [], threading.Lock(), random.Random(0)

    def use(pixels):
        with room(pixels):
            with lock:
                inside.append(pixels)
                most.append(list(inside))
            with lock:
                inside.remove(pixels)

    threads = [threading.Thread(target=use, args=(rng.choice([1, 4, 7, 50]),)) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert len(most) == 60
    assert all(sum(together) <= 10 or len(together) == 1 for together in most)
    assert room.free.value == 10


@pytest.mark.parametrize("shape", [(1200, 1000, 3), (1031, 2049, 4), (1500, 1501), (20, 60000, 3), (3001, 700, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_strips_change_no_bit(metric, shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    assert pixels.shape[0] * pixels.shape[1] > SMALL
    whole = metric.net.distinct_views(metric.to_net(to_unit(pixels)[None]))
    assert torch.equal(preprocess_pixels(metric.net, pixels), whole)


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
    job = Job(tiny, 100, torch.float32)
    assert list(files._on_gpu(iter([row.path]), job, 2, 4, 2**20)) == [row]


def test_lower_precision_is_near(folder, tiny, expected):
    near = list(score_files(folder[:10], tiny, dtype=torch.bfloat16))
    moved = [abs(row.score - exact.score) for row, exact in zip(near, expected, strict=False) if exact.score]
    assert 0 < max(moved) < 0.05  # untrained networks are not what the tolerance in docs/folders.md is stated for


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"threads": 0}, {"batch_size": 0}, {"room": 0}, {"tile": 63}, {"workers": -1}]
)
def test_options_out_of_range(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name}: expected at least .*, got {value}"):
        score_files([], Mean(), **options)
