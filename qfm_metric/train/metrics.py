"""Figures of a run by step, in files and on a board."""

import csv
from pathlib import Path


class Metrics:
    """Figures by step: to CSV files, and to TensorBoard where it is installed (`runs/NAME` is its log folder)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def write(self, name: str, step: int, figures: dict[str, float]) -> None:
        """Append a row to `NAME.csv`. What a resumed run repeats is written again: the later row counts."""
        path = self.folder / f"{name}.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "name", "value"])
            writer.writerows([step, key, f"{value:.5f}"] for key, value in figures.items())
        if self.board:
            for key, value in figures.items():
                self.board.add_scalar(f"{name}/{key}", value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self.board:
            self.board.close()  # type: ignore[no-untyped-call]
