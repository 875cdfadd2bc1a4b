"""What a run starts from must be there before its data are read, which may take hours for films."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sgear.errors import ConfigError
from sgear.experiment.recipes import command_for, training_command
from sgear.experiment.schema import DatasetConfig, ExperimentConfig
from sgear.files import quoted
from sgear.models.encoders import FEATURES
from sgear.models.hub import require_published_weights
from sgear.training.run import RunDirectory


def check_starts(config: ExperimentConfig) -> None:
    """Raise if a run, a file or published weights that an experiment starts from are not at hand.

    Raises:
        ConfigError: Names each setting, what it asks for, and the command that makes it.
    """
    problems = [*_missing_runs(config), *_missing_files(config)]
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        raise ConfigError("\n  ".join(["this experiment starts from what is not there yet:", *problems]))
    encoder = config.model.encoder
    if config.source.kind == "video" and encoder.name != FEATURES and encoder.pretrained:
        require_published_weights(encoder.name)


def _missing_runs(config: ExperimentConfig) -> Iterator[str]:
    asked = [("init.run", config.init.run), *(("init.branches", branch) for branch in config.init.branches)]
    for key, name in asked:
        run = RunDirectory(Path(name))
        if name and not run.model.is_dir():
            what = "holds no trained model" if run.path.is_dir() else "no such run directory"
            command = training_command(run.path, dataset=config.dataset)
            yield f"{key}={name}: {what}; {f'make it with: {command}' if command else 'check the path'}"


def _missing_files(config: ExperimentConfig) -> Iterator[str]:
    init = config.init
    made_by = {
        "init.visual_prototypes": (init.visual_prototypes, _visual_command(config)),
        "init.language_prototypes": (init.language_prototypes, _language_command(config)),
    }
    for key, (name, command) in made_by.items():
        if name and not Path(name).is_file():
            yield f"{key}={name}: no such file; make it with: {command}"
    given = {"init.weights": init.weights, "model.encoder.weights": config.model.encoder.weights}
    for key, name in given.items():
        if name and not Path(name).is_file():
            yield f"{key}={name}: no such file; check the path"


def _visual_command(config: ExperimentConfig) -> str:
    """Return the command that makes the visual prototypes, after the one of their recognition run where that lacks too.

    The run is the one to start from, or the one that the head of a recipe names.
    """
    file, run, first = config.init.visual_prototypes, config.init.run, ""
    named = re.search(r"prototypes visual (\S+)", command_for(Path(file)) or "")
    if not run and named:
        recognition = RunDirectory(Path(config.output_root) / Path(named[1]).name)
        run, command = str(recognition.path), training_command(recognition.path, dataset=config.dataset)
        first = f"{command}; then: " if command and not recognition.model.is_dir() else ""
    return f"{first}sgear prototypes visual {quoted(run or 'RECOGNITION_RUN')} --out {quoted(file)}"


def _language_command(config: ExperimentConfig) -> str:
    """Return the command of the recipe, which names the encoder, for this place and folder of data."""
    file, dataset = config.init.language_prototypes, config.dataset
    command = command_for(Path(file)) or f"sgear prototypes language --dataset {quoted(dataset.name)} --out FILE"
    command = re.sub(r"--out \S+", lambda _: f"--out {quoted(file)}", command)
    if dataset.granularity != DatasetConfig().granularity and "--granularity" not in command:
        command += f" --granularity {quoted(dataset.granularity)}"
    if dataset.root:
        command = re.sub(r" --root \S+", "", command) + f" --root {quoted(dataset.root)}"
    return command
