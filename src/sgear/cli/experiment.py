"""`sgear train` and `sgear evaluate` on the terminal."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from sgear.config import compose_experiment, list_experiments
from sgear.errors import ConfigError
from sgear.importing import import_weights
from sgear.pipeline import train_run
from sgear.predictions.skipped import skipped_of, skipped_text
from sgear.report.scores import percent
from sgear.taxonomy import FIELDS
from sgear.training.run import read_json


def _compose(overrides: list[str]):
    if not any(override.startswith("experiment=") for override in overrides):
        raise ConfigError(f"name an experiment: experiment=NAME, one of {', '.join(list_experiments())}")
    return compose_experiment(overrides)


def show_experiment(overrides: list[str]) -> None:
    """Print the resolved settings."""
    Console().print(OmegaConf.to_yaml(OmegaConf.structured(_compose(overrides))), highlight=False)


def train_experiment(overrides: list[str]) -> None:
    """Train, evaluate, print the scores."""
    console = Console()
    run = train_run(_compose(overrides), lambda text: console.print(text, highlight=False))
    print_scores(read_json(run.report), source=run.report)
    console.print(f"run directory: {run.path}; draw it with: sgear report {run.path}", highlight=False)


def import_experiment(file: Path, overrides: list[str], class_names: str) -> None:
    """Make a run directory from published weights and print what was loaded."""
    console = Console(soft_wrap=True)
    run = import_weights(
        _compose(overrides),
        file,
        class_names=class_names,
        say=lambda text: console.print(text, highlight=False, markup=False),
    )
    console.print(f"run directory: {run.path}; next: sgear evaluate {run.path}", highlight=False, markup=False)


def print_scores(report: dict, *, source: Path | None = None) -> None:
    """Print the scores of a report as a table, in percent.

    Args:
        report: Content of `report.json`.
        source: File that lists what could not be read, where there is such a list and the file is known.
    """
    console = Console()
    protocol = ", ".join(f"{name} {value}" for name, value in report["protocol"].items())
    table = Table(title=f"{report['benchmark']} ({protocol})")
    table.add_column("")
    for name in ("samples", "classes", "top-1", "top-5", "class-mean recall@5", "class-mean top-1"):
        table.add_column(name, justify="right")
    for group, by_field in report["scores"].items():
        for field in reversed(FIELDS):
            if field in by_field:
                values = by_field[field]
                numbers = (percent(values.get(name)) for name in ("top1", "top5", "recall5", "class_mean_top1"))
                counts = (f"{values[name]:,}" for name in ("num_samples", "num_classes"))
                table.add_row(f"{group.replace('_', '-')} {field}", *counts, *numbers)
        table.add_section()
    console.print(table)
    if "many_shot" in report["scores"]:
        precisions = (
            f"{field} {percent(values['precision'])}" for field, values in report["scores"]["many_shot"].items()
        )
        console.print(f"precision over many-shot classes: {', '.join(precisions)}", highlight=False)
    if "caveat" in report:
        console.print(f"note: {report['caveat']}", highlight=False)
    console.print(
        f"evaluated {report['num_evaluated']} of {report['num_asked']} segments asked for, "
        f"{report['num_from_prior']} of them from the class prior",
        highlight=False,
    )
    print_skipped(report, source=source)


def print_skipped(report: dict, *, source: Path | None) -> None:
    """Say that a report holds no benchmark numbers where segments were skipped, and where they are listed."""
    problem = skipped_text(skipped_of(report))
    if problem:
        unread = report.get("num_unreadable", 0)
        console, prior = Console(), f"; {unread} evaluated ones got the class prior" if unread else ""
        console.print(f"{problem}{prior}", style="bold red", highlight=False)
        if source is not None:
            place = "" if source.suffix == ".json" else "provenance of "
            console.print(f"which and why: {place}{source}", highlight=False, markup=False)
