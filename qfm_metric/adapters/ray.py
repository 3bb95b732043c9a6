"""Score images on a Ray cluster: `pip install "qfm-metric[ray]"`.

    dataset -> ImageScorer on each worker    pyarrow tables, a batch at a time
               a path or URI                 is read by the worker, ahead of the network
               bytes                         come with the table, and do not go on with the scores

A worker is a Ray actor with a network of its own. It does what `score_files` does, so the scores are the same.
"""

import functools
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from ..folder.one_file import EncodedImage
from ..folder.options import check_options, check_projection
from ..folder.row import Row, arrow_schema, columns_with
from ..folder.stream import check_metric, score_files
from ..folder.uris import read_image
from ..rating import Metric
from ..score import GPU_BATCH, QFMScore

READERS = 8  # files that a worker reads at the same time: an object store answers slowly, but many at once
CAREFUL = 64  # batches after a worker was replaced in which a picture that kills its reader is looked for


class ImageScorer:
    """For `Dataset.map_batches(ImageScorer, batch_format="pyarrow", ...)`; `score_dataset` calls it with the rest.

    Args:
        metric: Scores. Default: `QFMScore()`.
        column: The images: paths or URIs (strings), encoded files (binary), or Hugging Face's struct of `bytes` and
            `path`.
        path: The column with what an image is called in its error. Where there is none, that is its path or URI.
        device: Where the network goes.
        threads: CPU threads of the network; on a GPU, threads that decode.
        tile, dtype, explain, facts, projection: See `score_files`.
        prefix: Of the new columns' names, `path` excepted.
        filesystem: A `pyarrow.fs.FileSystem` that all paths are paths of. Default: strings with `://` are URIs that
            pyarrow knows, others files that every node can open.
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        column: str = "path",
        path: str = "path",
        device: str = "cpu",
        threads: int = 1,
        tile: int | None = None,
        dtype: torch.dtype = torch.float32,
        explain: bool = False,
        facts: bool = False,
        projection: str = "flat",
        prefix: str = "",
        filesystem: Any = None,
    ) -> None:
        import ray

        metric = QFMScore() if metric is None else metric
        self.metric: Metric = metric.to(device) if isinstance(metric, nn.Module) else metric
        self.column, self.path, self.prefix, self.filesystem = column, path, prefix, filesystem
        self.on_cpu, self.threads = torch.device(device).type == "cpu", threads
        self.options: dict[str, Any] = {"tile": tile, "dtype": dtype, "threads": threads}
        self.options |= {"explain": explain, "facts": facts, "projection": projection}
        self.columns = columns_with(tiles=tile is not None, explain=explain, facts=facts)
        self.careful = 0
        if ray.is_initialized() and ray.get_runtime_context().get_actor_id():  # the process is ours
            torch.set_num_threads(threads)
            with warnings.catch_warnings():  # Ray asks itself in a way that it deprecates
                warnings.simplefilter("ignore")
                self.careful = CAREFUL if ray.get_runtime_context().was_current_actor_reconstructed else 0

    def __call__(self, batch: Any) -> Any:
        """Score a batch.

        Args:
            batch: A `pyarrow.Table`.

        Returns:
            The table without encoded images, with the columns of `Row` and those that tiles and facts add. An image
            that cannot be read has an error, and null in the others.

        Raises:
            TypeError: the batch is no table, or the column holds something else.
            ValueError: a column is missing, or a new one is there already.
        """
        import pyarrow as pa

        if not isinstance(batch, pa.Table):
            raise TypeError(f"expected a pyarrow.Table, got {type(batch).__name__}; pass batch_format='pyarrow'")
        names, images, kept = self._take(batch)
        new = {name: name if name == "path" else self.prefix + name for name in self.columns}
        if there := [name for name in new.values() if name != "path" and name in kept.column_names]:
            raise ValueError(f"expected a table without the columns {there}; drop or rename them, or give a prefix")
        rows = self._score(names, images)
        for field in arrow_schema(self.columns):
            if (shown := new[field.name]) not in kept.column_names:
                found = [getattr(row, field.name, row.extra.get(field.name)) for row in rows]
                kept = kept.append_column(shown, pa.array(found, field.type))
        return kept

    def _take(self, table: Any) -> tuple[list[str], list[str | bytes | None], Any]:
        """What the images are called, where they are or their bytes, and the table without the bytes."""
        import pyarrow as pa

        for name in {self.column} if self.path == "path" else {self.column, self.path}:
            if name not in table.column_names:
                raise ValueError(f"expected a column {name!r}, got {table.column_names}")
        column, kept = table[self.column], table
        images, names = column.to_pylist(), None
        if pa.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}:
            names = [image and image["path"] for image in images]
            images = [image and (image["path"] if image["bytes"] is None else image["bytes"]) for image in images]
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            names = images
        elif not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise TypeError(
                f"column {self.column!r}: expected paths, URIs or encoded images (string, binary, or a struct of bytes "
                f"and path), got {column.type}; read pictures as files: ray.data.read_binary_files(include_paths=True)"
            )
        if names is not images:
            kept = table.drop_columns([self.column])
        if self.path in kept.column_names:
            names = table[self.path].to_pylist()
        elif names is None:
            raise ValueError(f"expected a column {self.path!r} that names the images, got {table.column_names}")
        return [str(name) for name in names], images, kept

    def _score(self, names: list[str], images: list[str | bytes | None]) -> list[Row]:
        """A row per image."""
        reads = [functools.partial(read_image, image, self.filesystem) for image in images]
        if self.on_cpu and self.careful:  # what killed this worker may be among these: it kills another process
            self.careful -= 1
            return list(score_files(map(EncodedImage, names, reads), self.metric, workers=2, **self.options))
        with ThreadPoolExecutor(READERS) as readers:
            ahead = [readers.submit(read).result for read in reads]
            workers = 1 if self.on_cpu else self.threads
            return list(score_files(map(EncodedImage, names, ahead), self.metric, workers=workers, **self.options))


def score_dataset(
    dataset: Any,
    metric: Metric | None = None,
    *,
    column: str = "path",
    path: str = "path",
    workers: int | tuple[int, int] | None = None,
    threads: int = 1,
    num_gpus: float = 0,
    batch_size: int = GPU_BATCH,
    tile: int | None = None,
    dtype: torch.dtype = torch.float32,
    explain: bool = False,
    facts: bool = False,
    projection: str = "flat",
    prefix: str = "",
    filesystem: Any = None,
    memory: float | None = None,
) -> Any:
    """Score the images of a Ray data set; nothing is computed before the result is asked for.

    On the CPU the scores are those of `metric(load_image(path))` with as many threads, to the last bit; on a GPU within
    1e-4. Each image gets one row, also if workers or nodes are lost meanwhile: Ray repeats what they were at. A picture
    whose decoder crashes takes its worker with it at first; then it gets a row with an error, if it is among the first
    64 batches of the new worker: so let a block have fewer.

    Rows may come in any order, unless `ray.data.DataContext.get_current().execution_options.preserve_order` is True.

    Args:
        dataset: A `ray.data.Dataset`. Blocks of some hundred rows share work out well; see `Dataset.repartition`.
        metric: Scores. Default: `QFMScore()`. Workers get a copy; they download nothing.
        column, path, tile, dtype, explain, facts, projection, prefix, filesystem: See `ImageScorer`.
        workers: Actors, or the least and the most of them. Default: from 1 to as many as the cluster has room for. A
            number holds its cores from the start: if the data set has yet to be read, leave some for that.
        threads: CPU cores of a worker, all for the network; on a GPU threads that decode.
        num_gpus: What a worker takes of a GPU: 0.5 puts two workers on each. 0: the CPU.
        batch_size: Images that a worker is handed at a time; it holds their encoded files.
        memory: Bytes that a worker asks of its node; Ray starts no more of them than there is memory for.

    Returns:
        A `ray.data.Dataset`: the columns of `dataset` but for encoded images, and those that `ImageScorer` adds.

    Raises:
        ValueError: an option is out of range, or beyond what the metric can do.
    """
    from ray.data import ActorPoolStrategy

    check_options(threads=threads, batch_size=batch_size, tile=tile)
    check_projection(projection, tile)
    if num_gpus < 0:
        raise ValueError(f"num_gpus: expected 0 or more, got {num_gpus}")
    least, most = (workers, workers) if isinstance(workers, int) else workers or (1, _most(threads, num_gpus))
    if not 1 <= least <= most:
        raise ValueError(f"workers: expected at least 1, and the most not below the least, got {workers}")
    device = "cuda" if num_gpus else "cpu"
    metric = QFMScore() if metric is None else metric
    check_metric(metric, dtype, tile)
    if num_gpus and metric.runtime != "torch":
        raise ValueError(f"num_gpus: expected 0 of a metric that runs in {metric.runtime}, got {num_gpus}")
    options = {"column": column, "path": path, "threads": threads, "prefix": prefix}
    options |= {"tile": tile, "dtype": dtype, "explain": explain, "facts": facts, "projection": projection}
    return dataset.map_batches(
        ImageScorer,
        fn_constructor_args=(metric,),
        fn_constructor_kwargs=options | {"device": device, "filesystem": filesystem},
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=threads,
        num_gpus=num_gpus or None,
        memory=memory,
    )


def _most(threads: int, num_gpus: float) -> int:
    """Workers that the cluster has room for."""
    import ray

    has = ray.cluster_resources()
    room = has.get("CPU", 0) / threads
    return max(1, int(min(room, has.get("GPU", 0) / num_gpus) if num_gpus else room))
