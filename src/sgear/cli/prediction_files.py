"""A FILE argument is a file of predictions or a run directory that holds one."""

from __future__ import annotations

from pathlib import Path

from sgear.datasets import Benchmark
from sgear.errors import PredictionError
from sgear.files import quoted, require_regular_file
from sgear.predictions import Predictions
from sgear.predictions.caveats import caveats_of
from sgear.predictions.skipped import skipped_of, skipped_text
from sgear.scoring import read_predictions
from sgear.training.run import RunDirectory, require_one_protocol


def predictions_path(path: Path, split: str = "validation") -> Path:
    """Return the file of predictions that a FILE argument means.

    Args:
        path: A file, or a run directory.
        split: Split to take from a run directory.

    Raises:
        PredictionError: If there is no such file.
        RunError: If a folder is not a run directory.
    """
    if path.exists() and not path.is_dir():
        require_regular_file(path, PredictionError)
        return path
    # Here: a file of predictions needs no configuration and no network.
    from sgear.cli.runs import find_run
    from sgear.experiment.recipes import recipe_of_run

    if not path.exists() and recipe_of_run(path.name) is None:
        raise PredictionError(f"{path}: no such file or run directory; check the path")
    run = find_run(path)
    file = run.split_predictions(split)
    if not file.is_file():
        raise PredictionError(
            f"{path}: the run has no predictions of the {split} split; make them with: "
            f"sgear evaluate {quoted(path)} --split {quoted(split)}"
        )
    return file


def load_predictions(path: Path, split: str = "validation", *, benchmark: Benchmark | None = None) -> Predictions:
    """Read the predictions that a FILE argument means: of a run, or of any code.

    Args:
        path: A file, or a run directory.
        split: Split to take from a run directory.
        benchmark: Data set, which predictions of other code need; see `read_plain`.

    Raises:
        SgearError: If there are none, or they are damaged, or of another protocol than their run.
    """
    file = predictions_path(path, split)
    if path.is_dir():
        return _of_run(RunDirectory(path), file)
    return read_predictions(file, benchmark)


def _of_run(run: RunDirectory, file: Path) -> Predictions:
    """Read predictions of a run, which state the protocol that its configuration and its model state."""
    from sgear.experiment.build import build_protocol
    from sgear.experiment.compose import load_run_config
    from sgear.models.pretrained import read_protocol

    table = Predictions.load(file)
    stated = {
        run.config.name: build_protocol(load_run_config(run.config).protocol).to_dict(),
        file.name: table.protocol,
    }
    if run.model.is_dir():
        stated["the model"] = read_protocol(run.model)
    require_one_protocol(run.path, stated)
    return table


def labels(paths: list[Path]) -> list[str]:
    """Return a short name for each FILE: the run's or the file's, the whole path where two would be alike."""
    names = [path.name if path.is_dir() else path.stem for path in paths]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]


def caveats(table: Predictions) -> list[str]:
    """Return the warnings that go with numbers of a table: of protocol and model, and of segments that were skipped."""
    skipped = skipped_text(skipped_of(table.provenance))
    return [*caveats_of(table.protocol, [table.provenance]), *([skipped] if skipped else [])]
