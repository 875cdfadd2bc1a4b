"""`sgear train` and `sgear evaluate` on the terminal."""

from __future__ import annotations

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from sgear.config import compose_experiment, list_experiments
from sgear.errors import ConfigError
from sgear.pipeline import train_run
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
    print_scores(read_json(run.report))
    console.print(f"run directory: {run.path}; draw it with: sgear report {run.path}", highlight=False)


def print_scores(report: dict) -> None:
    """Print the scores of a report as a table, in percent."""
    console = Console()
    protocol = ", ".join(f"{name} {value}" for name, value in report["protocol"].items())
    table = Table(title=f"{report['benchmark']} ({protocol})")
    table.add_column("")
    for name in ("samples", "top-1", "top-5", "class-mean recall@5"):
        table.add_column(name, justify="right")
    for group, values in report["scores"].items():
        numbers = (f"{100 * values[name]:.1f}" for name in ("top1", "top5", "recall5"))
        table.add_row(group, str(values["num_samples"]), *numbers)
    console.print(table)
    console.print(
        f"evaluated {report['num_evaluated']} of {report['num_asked']} segments asked for, "
        f"{report['num_from_prior']} of them from the class prior",
        highlight=False,
    )
