"""A RUN argument is a run directory; one that is not there yet may be the work of a recipe."""

from __future__ import annotations

from pathlib import Path

from sgear.errors import RunError
from sgear.experiment.recipes import training_command
from sgear.training.run import RunDirectory


def find_run(path: Path) -> RunDirectory:
    """Return the run directory that a RUN argument means.

    Raises:
        RunError: If there is none; names the command that makes it, where a recipe makes a run of this name.
    """
    if not path.exists() and (command := training_command(path)):
        raise RunError(f"{path}: no such run directory; make it with: {command}")
    return RunDirectory(path).require()
