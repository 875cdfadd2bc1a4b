"""A FILE argument is a file of predictions or a run directory that holds one."""

from __future__ import annotations

from pathlib import Path

from sgear.cli.runs import find_run
from sgear.config.recipes import recipe_of_run
from sgear.errors import PredictionError
from sgear.files import quoted
from sgear.predictions import Predictions
from sgear.predictions.caveats import caveats_of
from sgear.predictions.skipped import skipped_of, skipped_text


def predictions_path(path: Path, split: str = "validation") -> Path:
    """Return the file of predictions that a FILE argument means.

    Args:
        path: A file, or a run directory.
        split: Split to take from a run directory.

    Raises:
        PredictionError: If there is no such file.
        RunError: If a folder is not a run directory.
    """
    if path.is_file():
        return path
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


def load_predictions(path: Path, split: str = "validation") -> Predictions:
    """Read the predictions that a FILE argument means."""
    return Predictions.load(predictions_path(path, split))


def labels(paths: list[Path]) -> list[str]:
    """Return a short name for each FILE: the run's or the file's, the whole path where two would be alike."""
    names = [path.name if path.is_dir() else path.stem for path in paths]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]


def caveats(table: Predictions) -> list[str]:
    """Return the warnings that go with numbers of a table: of protocol and model, and of segments that were skipped."""
    skipped = skipped_text(skipped_of(table.provenance))
    return [*caveats_of(table.protocol, [table.provenance]), *([skipped] if skipped else [])]
