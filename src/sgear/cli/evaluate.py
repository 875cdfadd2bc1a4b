"""`sgear evaluate RUN`: the model again, and its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich import box
from rich.table import Table

from sgear.cli.runs import find_run
from sgear.cli.scores import print_scores, print_skipped
from sgear.cli.screen import open_screen, say
from sgear.data.dataset import OnError, checked_on_error
from sgear.errors import ConfigError, RunError
from sgear.experiment.build import build_protocol
from sgear.experiment.compose import load_run_config
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict_split
from sgear.experiment.moved import Places
from sgear.files import quoted, require_writable
from sgear.metrics import metrics
from sgear.predictions.skipped import skipped_of
from sgear.scoring import make_report
from sgear.timing import AnticipationProtocol, VJepaProtocol, WindowProtocol, protocol_from_dict
from sgear.training.run import RunDirectory


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
    table = Table(
        title=f"{result['benchmark']}: scores by anticipation time (trained at {result['trained_tau_a_s']:g} s)",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("tau_a", justify="right")
    shown = metrics(brief=True)
    for metric in shown.values():
        table.add_column(metric.title, justify="right")
    for tau_a, scores in result["scores"].items():
        numbers = (f"{100 * scores['action'][name]:.1f}" for name in shown)
        table.add_row(f"{tau_a} s", *numbers)
    screen = open_screen()
    screen.print(table)
    say(f"mean time to action, top 5: {result['time_to_action_s']:.2f} s", screen=screen)
    if "caveat" in result:
        say(f"note: {result['caveat']}", screen=screen)
    print_skipped(result, source=source)
