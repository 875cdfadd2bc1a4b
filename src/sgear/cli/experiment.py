"""`sgear train` and `sgear evaluate` on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from omegaconf import OmegaConf
from rich import box
from rich.table import Table

from sgear.cli.screen import open_screen, say, write_out
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.recipes import families_text, purpose
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.settings import all_settings_text, settings_text
from sgear.experiment.train import silent, train_run
from sgear.files import quoted
from sgear.importing import import_weights
from sgear.metrics import metrics
from sgear.predictions.caveats import UNCHECKED
from sgear.predictions.skipped import skipped_of, skipped_text
from sgear.report.scores import percent
from sgear.stopping import Stopped
from sgear.taxonomy import FIELDS
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


def print_scores(report: dict, *, source: Path | None = None) -> None:
    """Print the scores of a report as a table, in percent.

    Args:
        report: Content of `report.json`.
        source: File that lists what could not be read, where there is such a list and the file is known.
    """
    screen = open_screen()
    protocol = ", ".join(f"{name} {value}" for name, value in report["protocol"].items())
    table = Table(title=f"{report['benchmark']} ({protocol})", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    shown = metrics()
    titles = [metric.title.replace("class-mean ", "class-mean\n") for metric in shown.values()]
    for heading in ("samples", "classes", *titles):
        table.add_column(heading, justify="right", no_wrap=True)
    for group, by_field in report["scores"].items():
        for field in reversed(FIELDS):
            if field in by_field:
                values = by_field[field]
                numbers = (percent(values.get(name)) for name in shown)
                counts = (f"{values[name]:,}" for name in ("num_samples", "num_classes"))
                table.add_row(f"{group.replace('_', '-')} {field}", *counts, *numbers)
        table.add_section()
    screen.print(table)
    if "many_shot" in report["scores"]:
        precisions = (
            f"{field} {percent(values['precision'])}" for field, values in report["scores"]["many_shot"].items()
        )
        say(f"precision over many-shot classes: {', '.join(precisions)}", screen=screen)
    if "caveat" in report:
        say(f"note: {report['caveat']}", screen=screen)
    for note in report.get(UNCHECKED, []):
        say(f"not checked: {note}", screen=screen)
    say(
        f"evaluated {report['num_evaluated']} of {report['num_asked']} segments asked for, "
        f"{report['num_from_prior']} of them from the class prior",
        screen=screen,
    )
    print_skipped(report, source=source)


def print_skipped(report: dict, *, source: Path | None) -> None:
    """Say that a report holds no benchmark numbers where segments were skipped, and where they are listed."""
    problem = skipped_text(skipped_of(report))
    if problem:
        unread = report.get("num_unreadable", 0)
        prior = f"; {unread} evaluated ones got the class prior" if unread else ""
        say(f"{problem}{prior}", style="bold red")
        if source is not None:
            place = "" if source.suffix == ".json" else "provenance of "
            say(f"which and why: {place}{source}")
