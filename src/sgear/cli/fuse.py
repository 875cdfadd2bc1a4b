"""`sgear fuse`: average the scores of several models, with given weights or weights found on held-out segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich import box
from rich.table import Table

from sgear.cli.prediction_files import caveats, labels, load_predictions, predictions_path
from sgear.cli.screen import open_screen, say
from sgear.datasets import load_dataset
from sgear.errors import ConfigError
from sgear.files import require_writable
from sgear.metrics import metrics
from sgear.predictions import Predictions, score
from sgear.predictions.fusion import RULES, Rule, check_weights, late_fuse
from sgear.predictions.search import WeightSearch, fuse_with_search
from sgear.taxonomy import FIELDS, Field


def run_fuse(
    files: list[Path],
    weights: list[float] | None,
    rule: str,
    out: Path,
    verb_weights: list[float] | None = None,
    noun_weights: list[float] | None = None,
    search_on: list[Path] | None = None,
    *,
    metric: str = "recall5",
    num_steps: int = 20,
    dataset: str | None = None,
    root: Path | None = None,
) -> None:
    """Fuse predictions, write the result, and print what each model and the result score.

    Args:
        files: Files of predictions or run directories, one per model.
        weights: One per file. None: equal weights, or those that the search finds.
        rule: `probs`, `logits`, `ranks` or `avt`.
        out: File to write, `.safetensors`.
        verb_weights: Weights of the verbs, where they differ.
        noun_weights: Weights of the nouns, where they differ.
        search_on: Predictions of the same models in the same order on a split that is not reported; weights are
            found there.
        metric: What the search maximizes, one of `metrics()`.
        num_steps: Steps per weight of the search.
        dataset: Data set, which predictions of other code need.
        root: Folder of its annotations. Default: under SGEAR_DATA.

    Raises:
        SgearError: If options contradict each other, or files do not belong together.
    """
    names = _check(files, weights, rule, out, verb_weights, noun_weights, search_on, metric, num_steps)
    benchmark = None if dataset is None else load_dataset(dataset, root)
    tables = [load_predictions(path, benchmark=benchmark) for path in files]
    fields: dict[Field, list[float]] = {}
    if verb_weights:
        fields["verb"] = verb_weights
    if noun_weights:
        fields["noun"] = noun_weights
    rule_name = cast(Rule, rule)
    searches: dict[Field, WeightSearch] = {}
    used: dict[Field, Sequence[float]]
    if search_on:
        held_out = [load_predictions(path, benchmark=benchmark) for path in search_on]
        fused, found = fuse_with_search(
            tables, held_out, metric=metric, rule=rule_name, num_steps=num_steps, fields=FIELDS
        )
        searches = dict(found)
        used = {name: search.weights for name, search in searches.items()}
    else:
        given = weights or [1.0] * len(files)
        fused = late_fuse(tables, given, rule=rule_name, field_weights=fields, notes={"files": names})
        used = {name: fields.get(name, given) for name in FIELDS}
    fused.save(out)
    _print(names, [*tables, fused], used, rule, searches)
    say(f"wrote {out}")


def _check(
    files: list[Path],
    weights: list[float] | None,
    rule: str,
    out: Path,
    verb_weights: list[float] | None,
    noun_weights: list[float] | None,
    search_on: list[Path] | None,
    metric: str,
    num_steps: int,
) -> list[str]:
    """Refuse what contradicts itself; return the names of the models."""
    if len(files) < 2:
        raise ConfigError(f"give at least two files or runs to fuse, got {len(files)}")
    if rule not in RULES:
        raise ConfigError(f"--rule {rule}: choose one of {', '.join(RULES)}")
    if metric not in metrics() or num_steps < 1:
        raise ConfigError(f"--metric must be one of {', '.join(metrics())} and the number of steps at least 1")
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: predictions are written to a name that ends in .safetensors")
    if search_on and (weights or verb_weights or noun_weights):
        raise ConfigError("--search-on finds the weights; leave out --weights, --verb-weights and --noun-weights")
    if search_on and len(search_on) != len(files):
        raise ConfigError(
            f"--search-on needs one file per model, in the same order: {len(files)}, not {len(search_on)}"
        )
    for option, values in (("weights", weights), ("verb-weights", verb_weights), ("noun-weights", noun_weights)):
        if values:
            try:
                check_weights(values, len(files))
            except ValueError as err:
                raise ConfigError(f"--{option}: {err}") from err
    inputs = {predictions_path(path).resolve() for path in [*files, *(search_on or [])]}
    if out.resolve() in inputs:
        raise ConfigError(f"--out {out} is one of the files to fuse; choose another name")
    require_writable(out)
    return labels(files)


def _print(
    names: list[str],
    tables: Sequence[Predictions],
    used: dict[Field, Sequence[float]],
    rule: str,
    searches: dict[Field, WeightSearch],
) -> None:
    screen = open_screen()
    is_labelled = tables[-1].is_labelled
    columns = _weight_columns(used)
    table = Table(
        title=f"late fusion of {len(names)} models by the rule {rule}, {len(tables[-1])} segments",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for metric in metrics(brief=True).values() if is_labelled else ():
        table.add_column(metric.title.replace("class-mean ", "class-mean\n"), justify="right", no_wrap=True)
    for index, (label, predictions) in enumerate(zip([*names, "fused"], tables, strict=True)):
        cells = [f"{weights[index]:g}" if index < len(names) else "" for weights in columns.values()]
        style = "bold" if index == len(names) else ""
        table.add_row(label, *cells, *(_scores(predictions) if is_labelled else ()), style=style)
    screen.print(table)
    if is_labelled:
        say("scores of the actions over all segments, in percent", style="dim", screen=screen)
    for name, search in searches.items():
        say(
            f"{name} weights: best of {len(search.tried)} on {search.num_segments} held-out segments, "
            f"{search.metric} there {100 * search.score:.1f}",
            style="dim",
            screen=screen,
        )
    for warning in caveats(tables[-1]):
        say(f"warning: {warning}", style="yellow", screen=screen)


def _weight_columns(used: dict[Field, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return the weights under their headings: one column where all fields have the same."""
    first, *others = used.values()
    if all(list(weights) == list(first) for weights in others):
        return {"weight": first}
    return {f"{name}\nweight": weights for name, weights in used.items()}


def _scores(predictions: Predictions) -> list[str]:
    values = score(predictions)["overall"]["action"]
    return [f"{100 * values[name]:.1f}" for name in metrics(brief=True)]
