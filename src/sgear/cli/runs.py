"""`sgear train`, `import-weights` and `evaluate RUN`: what they do and print. Loads no plot."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from omegaconf import OmegaConf

from sgear.cli.predictions import find_run, print_scores, print_skipped
from sgear.cli.terminal import open_screen, plain_table, say, write_out
from sgear.data.dataset import OnError, checked_on_error
from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.build import build_protocol
from sgear.experiment.compose import load_run_config
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict_split
from sgear.experiment.moved import Places
from sgear.experiment.recipes import families_text, purpose
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.settings import all_settings_text, settings_text
from sgear.experiment.sweep import SweepRow, failure_text, members_of, run_sweep, table_of
from sgear.experiment.train import silent, train_run
from sgear.experiment.tune import NUM_FOLDS, choose
from sgear.files import quoted, require_writable
from sgear.importing import import_weights
from sgear.metrics import metrics
from sgear.predictions.provenance import skipped_of
from sgear.scoring import make_report
from sgear.stopping import Stopped
from sgear.timing import AnticipationProtocol, VJepaProtocol, WindowProtocol, protocol_from_dict
from sgear.training.checkpoints import list_checkpoints
from sgear.training.processes import is_main_process
from sgear.training.run import RunDirectory, read_json


def check_experiment_named(overrides: list[str]) -> None:
    """Raise unless an experiment is named.

    Raises:
        ConfigError: Says which there are.
    """
    if not any(override.startswith("experiment=") for override in overrides):
        raise ConfigError(
            "name an experiment, e.g. experiment=own/avt; 'sgear train --list' says what each is for:\n"
            f"{families_text()}"
        )


def _compose(overrides: list[str]) -> ExperimentConfig:
    check_experiment_named(overrides)
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


def train_sweep(overrides: list[str], num_jobs: int) -> None:
    """Train every member of a sweep, print the table of means.

    Raises:
        ConfigError: If the settings are wrong, or nothing takes several values.
        RunError: If members failed; names each and its log. The table of the others is printed first.
    """
    check_experiment_named(overrides)
    members = members_of(overrides)
    say(f"{len(members)} runs: {members[0].run.name} ... {members[-1].run.name}")
    failed = run_sweep(members, num_jobs=num_jobs, say=say)
    if done := [member.run for member in members if member.is_done]:
        print_sweep(done)
    if failed:
        raise RunError(failure_text(failed))


def train_tuned(overrides: list[str], num_jobs: int) -> None:
    """Choose size and length on folds of the training people, print the table, and train with the choice.

    Raises:
        ConfigError: If there is nothing to choose, or the training people cannot be divided.
        RunError: If a candidate failed.
    """
    check_experiment_named(overrides)
    chosen, rows, best = choose(overrides, num_jobs=num_jobs, say=say)
    _print_rows(rows, f"mean and standard deviation over {NUM_FOLDS} folds of the training people")
    words = ", ".join(f"{key}={value}" for key, value in best.settings.items())
    say(f"chosen: {words or 'as the recipe has it'}")
    train_experiment(chosen)


def print_sweep(runs: list[RunDirectory]) -> None:
    """Print means and deviations over seeds, folds and splits, in percent."""
    title = f"{read_json(runs[0].report)['benchmark']}: mean and standard deviation over seeds, folds and splits"
    _print_rows(table_of(runs), title)


def _print_rows(rows: list[SweepRow], title: str) -> None:
    shown = metrics(brief=True)
    differing = list(rows[0].settings)
    heads = [key.rpartition(".")[2] for key in differing]
    table = plain_table(title, left=heads or ("",), right=("runs", *(metric.title for metric in shown.values())))
    for row in rows:
        numbers = [
            f"{100 * row.means[name]:.1f}"
            + ("" if (spread := row.deviations[name]) is None else f" +- {100 * spread:.1f}")
            for name in shown
        ]
        table.add_row(*(row.settings.values() or ("",)), str(len(row.runs)), *numbers)
    screen = open_screen()
    screen.print(table)
    if skipped := sum(row.num_skipped for row in rows):
        say(f"not benchmark numbers: {skipped} segments could not be read", style="bold red", screen=screen)


def import_experiment(file: Path, overrides: list[str], class_names: str) -> None:
    """Make a run directory from published weights and print what was loaded."""
    run = import_weights(_compose(overrides), file, class_names=class_names, say=say)
    say(f"run directory: {run.path}; next: sgear evaluate {quoted(run.path)}")


def evaluate_directory(
    path: Path,
    *,
    split: str,
    tau_a_s: list[float],
    protocol: str,
    views: str,
    on_error: str = "",
    places: Places | None = None,
) -> None:
    """Run the model of a run directory again and print its scores.

    `on_error` is another setting of `source.on_error` than the run's; empty keeps that. `places` are those where its
    data lie now.

    Raises:
        ConfigError: If options contradict each other.
        RunError: If the run holds no trained model.
        WriteError: If nothing can be written into the run directory.
    """
    if tau_a_s and (split != "validation" or protocol or views):
        raise ConfigError(
            "--tau-a draws the horizon curve of the validation split; leave out --split, --protocol, --views"
        )
    on = checked_on_error(on_error) if on_error else None
    run = find_run(path)
    require_writable(run.predictions)
    if tau_a_s:
        _print_horizons(evaluate_horizons(path, tau_a_s, on_error=on, places=places), run.horizons)
    elif split == "validation" and not protocol and not views:
        print_scores(evaluate_run(path, on_error=on, places=places), source=run.report)
    else:
        _evaluate_variant(path, split, _other_protocol(path, protocol, views), on, places)


def _other_protocol(path: Path, kind: str, views: str) -> WindowProtocol | None:
    """Return the protocol of the run with the changes that were asked for; None where there are none."""
    if not kind and not views:
        return None
    trained = build_protocol(load_run_config(RunDirectory(path).require().config).protocol)
    if not isinstance(trained, AnticipationProtocol | VJepaProtocol):
        raise RunError(f"{path}: trained for {trained.kind}; choose an anticipation run")
    values = trained.to_dict() | ({"kind": kind} if kind else {}) | ({"views": views} if views else {})
    if kind == VJepaProtocol.kind:
        values["short_history"] = "repeat"
    try:
        changed = protocol_from_dict(values)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    assert isinstance(changed, AnticipationProtocol | VJepaProtocol)
    return changed


def _evaluate_variant(
    path: Path, split: str, protocol: WindowProtocol | None, on_error: OnError | None, places: Places | None
) -> None:
    predictions, benchmark = predict_split(path, split=split, protocol=protocol, on_error=on_error, places=places)
    marks = [split] if protocol is None else [split, protocol.kind, protocol.views]
    out = RunDirectory(path).split_predictions("-".join(marks))
    predictions.save(out)
    if split == "validation":
        print_scores(make_report(predictions, benchmark), source=out)
    elif predictions.is_labelled:
        asked = replace(benchmark, validation=benchmark.train if split == "train" else benchmark.tests[split])
        print_scores(make_report(predictions, asked), source=out)
    elif skipped_of(predictions.provenance):
        say(f"{len(predictions)} segments of {split}, which has no labels")
        print_skipped(predictions.provenance, source=out)
    else:
        say(f"{len(predictions)} segments of {split}, which has no labels; next: sgear submit {quoted(out)}")
    say(f"predictions: {out}")


def _print_horizons(result: dict, source: Path) -> None:
    shown = metrics(brief=True)
    title = f"{result['benchmark']}: scores by anticipation time (trained at {result['trained_tau_a_s']:g} s)"
    table = plain_table(title, right=("tau_a", *(metric.title for metric in shown.values())))
    for tau_a, scores in result["scores"].items():
        numbers = (f"{100 * scores['action'][name]:.1f}" for name in shown)
        table.add_row(f"{tau_a} s", *numbers)
    screen = open_screen()
    screen.print(table)
    say(f"mean time to action, top 5: {result['time_to_action_s']:.2f} s", screen=screen)
    if "caveat" in result:
        say(f"note: {result['caveat']}", screen=screen)
    print_skipped(result, source=source)
