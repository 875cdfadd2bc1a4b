"""`sgear train` and `sgear evaluate` on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from omegaconf import OmegaConf

from sgear.cli.scores import print_scores
from sgear.cli.screen import say, write_out
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.recipes import families_text, purpose
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.settings import all_settings_text, settings_text
from sgear.experiment.train import silent, train_run
from sgear.files import quoted
from sgear.importing import import_weights
from sgear.stopping import Stopped
from sgear.training.checkpoints import list_checkpoints
from sgear.training.processes import is_main_process
from sgear.training.run import RunDirectory, read_json


def _compose(overrides: list[str]) -> ExperimentConfig:
    if not any(override.startswith("experiment=") for override in overrides):
        raise ConfigError(
            "name an experiment, e.g. experiment=own/avt; 'sgear train --list' says what each is for:\n"
            f"{families_text()}"
        )
    return compose_experiment(overrides)


def list_recipes() -> None:
    """Print every experiment and what it is for."""
    width = max(map(len, list_experiments()))
    for name in list_experiments():
        say(f"{name:{width}}  {purpose(name)}")


def print_settings(overrides: list[str]) -> None:
    """Print every setting, its value in an experiment (without one, its default), and what it means."""
    say(settings_text(_compose(overrides)) if overrides else all_settings_text())


def show_experiment(overrides: list[str]) -> None:
    """Print the resolved settings as YAML, to be read by people and programs."""
    write_out(OmegaConf.to_yaml(OmegaConf.create(asdict(_compose(overrides)))))


def train_experiment(overrides: list[str]) -> None:
    """Train, evaluate, print the scores."""
    config = _compose(overrides)
    try:
        run = train_run(config, say if is_main_process() else silent)
    except Stopped as stop:
        kept = [override for override in overrides if not override.startswith("runtime.resume=")]
        has_state = bool(list_checkpoints(RunDirectory(Path(config.output_root) / config.name).checkpoints))
        stop.command = ["train", *kept, *(["runtime.resume=true"] if has_state else [])]
        raise
    if is_main_process():
        print_scores(read_json(run.report), source=run.report)
        say(f"run directory: {run.path}; draw it with: sgear report {quoted(run.path)}")


def import_experiment(file: Path, overrides: list[str], class_names: str) -> None:
    """Make a run directory from published weights and print what was loaded."""
    run = import_weights(_compose(overrides), file, class_names=class_names, say=say)
    say(f"run directory: {run.path}; next: sgear evaluate {quoted(run.path)}")
