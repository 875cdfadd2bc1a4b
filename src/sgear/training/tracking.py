"""Numbers over time: JSON lines are the record, TensorBoard is the view."""

from __future__ import annotations

import json
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from sgear.files import write_whole
from sgear.training.run import read_log


class Tracker:
    """Append one JSON object per call to `metrics.jsonl`, and the same numbers to TensorBoard.

    Args:
        metrics: The JSON-lines file.
        board: Folder of the TensorBoard events.
        first_step: Lines of later steps, left by a run that was killed after its last checkpoint, are dropped first.
    """

    def __init__(self, metrics: Path, board: Path, *, first_step: int) -> None:
        before = read_log(metrics) if metrics.exists() else []
        kept = [line for line in before if line["step"] <= first_step]
        write_whole(metrics, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(board), purge_step=first_step or None)

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one line `{"kind": ..., "step": ..., **values}`."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close both."""
        self._file.close()
        self._board.close()


class NoTracker:
    """Writes nothing: one process of a run keeps its log."""

    def log(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close nothing."""


def open_tracker(metrics: Path, board: Path, *, first_step: int, writes: bool) -> Tracker | NoTracker:
    """Return the log of a run, for the process that keeps it; see `Tracker`."""
    return Tracker(metrics, board, first_step=first_step) if writes else NoTracker()
