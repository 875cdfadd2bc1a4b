"""A FILE argument is a file of predictions or a run directory; scores of either. Loads no network and no plot."""

from __future__ import annotations

from pathlib import Path

from sgear.cli.terminal import open_screen, plain_table, say
from sgear.datasets import Benchmark, load_dataset
from sgear.errors import PredictionError, RunError
from sgear.files import quoted, require_regular_file, require_writable
from sgear.metrics import metrics
from sgear.metrics.registry import percent
from sgear.predictions import Predictions
from sgear.predictions.provenance import UNCHECKED, caveats_of, skipped_of, skipped_text
from sgear.scoring import make_report, read_predictions
from sgear.taxonomy import FIELDS
from sgear.training.run import RunDirectory, require_one_protocol, write_json


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


def find_run(path: Path) -> RunDirectory:
    """Return the run directory that a RUN argument means.

    Raises:
        RunError: If there is none; names the command that makes it, where a recipe makes a run of this name.
    """
    # Here, as it loads the configuration.
    from sgear.experiment.recipes import training_command

    if not path.exists() and (command := training_command(path)):
        raise RunError(f"{path}: no such run directory; make it with: {command}")
    return RunDirectory(path).require()


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
    shown = metrics()
    titles = [metric.title.replace("class-mean ", "class-mean\n") for metric in shown.values()]
    title = f"{report['benchmark']} ({protocol})"
    table = plain_table(title, left=("",), right=("samples", "classes", *titles))
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
    for line in floors_text(report.get("floors", {})):
        say(line, screen=screen)
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


def floors_text(floors: dict[str, dict[str, float]]) -> list[str]:
    """Return one line for each baseline that own data are compared with."""
    titles = {name: metric.title for name, metric in metrics(brief=True).items()}
    return [
        f"floor, {name}: " + ", ".join(f"{title} {100 * scores[metric]:.1f}" for metric, title in titles.items())
        for name, scores in floors.items()
    ]


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
