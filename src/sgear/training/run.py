"""The files of a run directory: where its numbers come from, its log, and nothing else in it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sgear.errors import RunError
from sgear.files import PARTIAL, require_regular_file, write_whole
from sgear.locks import STALE_S, RunLock, holder_of
from sgear.predictions.table import protocol_differences, whole_protocol
from sgear.training.processes import is_main_process

_NAMES = {
    "checkpoints",
    "config.yaml",
    "data.json",
    "horizons.json",
    "metrics.jsonl",
    "model",
    "predictions",
    "report.html",
    "report.json",
    "run.json",
    "tensorboard",
}
"""Everything that a run writes."""
# A process shows that it is alive far more often than others would take it for dead.


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run.

    `config.yaml` what was asked, `data.json` of which data, `run.json` where it came from, `metrics.jsonl` the log,
    `checkpoints/` to resume, `model/` the trained model, `predictions/` scores per split, `report.json` the numbers,
    `horizons.json` the numbers at several anticipation times. `lock` says that this process writes it, see `held`.
    """

    path: Path
    lock: RunLock | None = field(default=None, compare=False)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        """The data that it was made on, by their content; see `sgear.experiment.facts`."""
        return self.path / "data.json"

    @property
    def provenance(self) -> Path:
        """Versions, commit, data fingerprint."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Training states."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "model"

    @property
    def predictions(self) -> Path:
        """Scores on the validation split."""
        return self.path / "predictions" / "validation.safetensors"

    def split_predictions(self, split: str) -> Path:
        """Scores on another split, e.g. `test`."""
        return self.path / "predictions" / f"{split}.safetensors"

    def horizon_predictions(self, tau_a_s: float) -> Path:
        """Scores on the validation split at another anticipation time."""
        return self.path / "predictions" / f"validation-tau_a-{tau_a_s:g}s.safetensors"

    @property
    def horizons(self) -> Path:
        """The numbers at several anticipation times, where they were asked for."""
        return self.path / "horizons.json"

    @property
    def report(self) -> Path:
        """The numbers."""
        return self.path / "report.json"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @contextmanager
    def held(self) -> Iterator[RunDirectory]:
        """Hold the run within a block, so that no other process on any machine writes it.

        Raises:
            RunError: If another one that is alive holds it; says which.
        """
        # The others wait for the first in the first collective of the training; they write nothing.
        if not is_main_process():
            yield self
            return
        made = [folder for folder in self.path.parents if not folder.exists()]
        lock = RunLock.take(self.path)
        if lock is None:
            raise RunError(
                f"{self.path}: is written by {holder_of(self.path)} now; wait for its end, or choose another name=..."
            )
        try:
            with lock.kept_fresh():
                yield replace(self, lock=lock)
        finally:
            # Where nothing was written, not even an empty folder is left.
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def require_held(self) -> None:
        """Check that no other process took this run over.

        Raises:
            RunError: If one did: this one stood still for so long that it was taken for dead.
        """
        if self.lock is not None and not self.lock.is_held():
            raise RunError(
                f"{self.path}: another process goes on with this run, as this one gave no sign of life for "
                f"{STALE_S / 60:g} minutes; nothing more is written from here"
            )

    def remove_partials(self) -> None:
        """Remove what processes that were killed left half-written; for the process that holds the run."""
        for path in self.path.rglob(f".*{PARTIAL}"):
            path.unlink()

    def clear(self) -> None:
        """Remove what a run left that died before its first checkpoint.

        Raises:
            RunError: If the folder holds anything that is not of a run; nothing is removed then.
        """
        names = {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")}
        strangers = sorted(names - _NAMES)
        if strangers:
            raise RunError(
                f"{self.path}: not a run directory (it holds {', '.join(strangers[:3])}), so nothing is written there; "
                "choose another name=... or output_root=..."
            )
        shutil.rmtree(self.path)

    def require(self) -> RunDirectory:
        """Return self if this is a run directory.

        Raises:
            RunError: If it is not.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run directory; 'sgear train' makes one")
        if not self.config.is_file():
            raise RunError(f"{self.path}: not a run directory (config.yaml is missing); 'sgear train' makes one")
        return self

    def require_evaluated(self) -> RunDirectory:
        """Return self if this is the directory of a run that was trained and evaluated.

        Raises:
            RunError: If it is not.
        """
        self.require()
        for path in (self.model, self.predictions, self.report):
            if not path.exists():
                raise RunError(
                    f"{path} is missing; train the run with 'sgear train', or write it with 'sgear evaluate'"
                )
        return self


def require_one_protocol(path: Path, stated: Mapping[str, dict[str, float | str]]) -> None:
    """Raise unless all parts of a run state one protocol: they differ where files of two runs lie in one folder.

    Args:
        path: Run directory.
        stated: Protocol by the name of the part that states it, two or more.

    Raises:
        RunError: Names two parts, and the settings in which they differ.
    """
    (first, ours), *others = ((part, whole_protocol(protocol)) for part, protocol in stated.items())
    for part, theirs in others:
        if found := protocol_differences(ours, theirs):
            raise RunError(
                f"{path}: {first} and {part} state different protocols ({found}), so they are not of one run; copy the "
                "run again as a whole, or train it again"
            )


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all.

    Raises:
        WriteError: If it cannot be written.
    """
    write_whole(path, (json.dumps(values, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RunError: If the file is missing or damaged.
    """
    if not path.exists():
        raise RunError(f"{path}: no such file; train or evaluate the run first")
    require_regular_file(path, RunError)
    try:
        return _object(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise RunError(f"{path}: damaged ({err}); copy it again, or make it again with 'sgear evaluate'") from err


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the JSON lines of `metrics.jsonl`; half a line at its end, which a kill leaves, is no line.

    Raises:
        RunError: If the file is missing or damaged.
    """
    if not path.exists():
        raise RunError(f"{path}: no such log; 'sgear train' writes it")
    require_regular_file(path, RunError)
    lines = path.read_bytes().split(b"\n")[:-1]
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(_object(line))
            if not isinstance(values[-1].get("step"), int):
                raise ValueError("it has no step")
        except (ValueError, RecursionError) as err:
            raise RunError(f"{path}: line {number} is damaged ({err}); correct or delete the line") from err
    return values


def _object(text: str | bytes) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"expected an object, got a {type(values).__name__}")
    return values


_PACKAGES = ("sgear", "torch", "timm", "accelerate", "numpy", "av", "polars")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def git_commit() -> str:
    """Return the commit of the source tree, with `-dirty` where files differ, or `unknown` outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def collect_provenance() -> dict[str, object]:
    """Return commit, package versions, Python, processor and GPU."""
    # Here: to read the files of a run takes no torch.
    import torch  # noqa: PLC0415

    return {
        "commit": git_commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "num_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {package: _version(package) for package in _PACKAGES},
    }


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
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415

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
