"""`sgear evaluate FILE`, and scores on the terminal: nothing here loads a network, a plot or a configuration."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from sgear.cli.prediction_files import load_predictions
from sgear.cli.screen import open_screen, say
from sgear.datasets import load_dataset
from sgear.files import require_writable
from sgear.metrics import metrics
from sgear.metrics.registry import percent
from sgear.predictions.caveats import UNCHECKED
from sgear.predictions.skipped import skipped_of, skipped_text
from sgear.scoring import make_report
from sgear.taxonomy import FIELDS
from sgear.training.run import write_json


def evaluate_file(
    file: Path, *, dataset: str, root: Path | None, dataset_split: int, granularity: str, out: Path | None
) -> None:
    """Score a file of predictions against the annotations of a data set.

    Raises:
        PredictionError: If the file does not hold each validation segment of the data set exactly once.
        WriteError: If the scores cannot be written to `out`.
    """
    if out is not None:
        require_writable(out)
    benchmark = load_dataset(dataset, root, split=dataset_split, granularity=granularity)
    report = make_report(load_predictions(file, benchmark=benchmark), benchmark)
    if out is not None:
        write_json(out, report)
    print_scores(report, source=file if out is None else out)


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
