"""`sgear compare` and `sgear fuse`: is one model better than another, and what do several score together?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from rich.table import Table
from rich.text import Text

from sgear.cli.predictions import caveats, labels, load_predictions, predictions_path
from sgear.cli.terminal import open_screen, plain_table, require_page, say, warn, write_out
from sgear.datasets import Benchmark, load_dataset
from sgear.errors import ConfigError, PredictionError
from sgear.files import require_writable, write_whole
from sgear.metrics import metrics
from sgear.predictions import Predictions, score
from sgear.predictions.compare import Comparison, compare
from sgear.predictions.fusion import RULES, Rule, check_weights, late_fuse
from sgear.predictions.held_out import WeightSearch, fuse_with_search
from sgear.predictions.provenance import SKIPPED, skipped_of
from sgear.predictions.scoring import Subsets, evaluated_part
from sgear.taxonomy import FIELDS, Field

_NUM_CLASSES_PRINTED = 5


def run_compare(
    first: Path,
    second: Path,
    as_json: bool,
    *,
    dataset: str | None = None,
    root: Path | None = None,
    out: Path | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Print the scores of two models side by side, with intervals and tests.

    Raises:
        SgearError: If the two must not be compared.
    """
    if num_resamples < 1:
        raise PredictionError(f"the number of resamples must be at least 1, got {num_resamples}")
    if out is not None:
        require_page(out)
    if root is not None and dataset is None:
        raise ConfigError("--root says where the data set of --dataset lies; give it, too")
    names = labels([first, second])
    benchmark = None if dataset is None else load_dataset(dataset, root)
    one, other = (load_predictions(path, benchmark=benchmark) for path in (first, second))
    subsets: Subsets = {}
    if benchmark is not None:
        one.check_comparable(other)
        one, other, subsets = _evaluated_of(one, other, benchmark)
    result = compare(one, other, subsets=subsets, num_resamples=num_resamples, seed=seed)
    if out is not None:
        from sgear.report import render_comparison

        page = render_comparison(one, other, (names[0], names[1]), subsets=subsets, result=result)
        write_whole(out, page.encode())
    if as_json:
        skipped = [skipped_of(table.provenance) for table in (one, other)]
        document = {
            "first": names[0],
            "second": names[1],
            "protocol": one.protocol,
            "is_benchmark": not any(map(caveats, (one, other))),
            **({"caveats": warnings} if (warnings := _warnings(names, one, other)) else {}),
            **({SKIPPED: skipped} if any(skipped) else {}),
            **result.to_dict(),
        }
        write_out(json.dumps(document) + "\n")
        return
    _print_comparison(names, one, result, _warnings(names, one, other))
    if out is not None:
        say(f"wrote {out}")


def _evaluated_of(
    first: Predictions, second: Predictions, benchmark: Benchmark
) -> tuple[Predictions, Predictions, Subsets]:
    """Return both tables in the order of the data set, with its subsets; only segments that count."""
    if first.taxonomy.digest != benchmark.taxonomy.digest:
        raise PredictionError(
            f"predictions of {first.taxonomy.num_actions} actions ({first.taxonomy.digest}), but {benchmark.name} has "
            f"{benchmark.taxonomy.num_actions} ({benchmark.taxonomy.digest})"
        )
    uids = tuple(benchmark.validation.uids)
    first, second = first.aligned_to(uids), second.aligned_to(uids)
    if not np.array_equal(first.targets, benchmark.validation.column("action_id")):
        raise PredictionError(f"the true actions in the predictions are not those of {benchmark.name}")
    is_trained = benchmark.trained_action_mask
    second, _ = evaluated_part(second, is_trained, {})
    first, subsets = evaluated_part(first, is_trained, benchmark.subset_masks)
    return first, second, subsets


def _warnings(names: list[str], first: Predictions, second: Predictions) -> list[str]:
    """Return the warnings of both tables; what holds for one of them alone has its name before it."""
    one, other = caveats(first), caveats(second)
    shared = [text for text in one if text in other]
    own = [(name, text) for name, texts in zip(names, (one, other), strict=True) for text in texts]
    return shared + [f"{name}: {text}" for name, text in own if text not in shared]


def _print_comparison(names: list[str], table: Predictions, result: Comparison, warnings: list[str]) -> None:
    screen = open_screen()
    screen.print(_scores_table(names, len(table), result))
    say(
        "percent; recall@5 is the class-mean; 1 - 2: difference with its 95 % bootstrap interval over segments; p: "
        "two-sided, sign test for accuracies, random swaps for the class-mean, not corrected for the number of rows",
        style="dim",
        screen=screen,
    )
    changes = _changes_table(names, result)
    if changes.row_count:
        screen.print(changes)
    warn(warnings, screen=screen)


def _changes_table(names: list[str], result: Comparison) -> Table:
    title = f"classes whose top-5 hits differ most between {names[0]} (1) and {names[1]} (2)"
    table = plain_table(title, left=("field",))
    table.add_column("class", overflow="fold")
    for heading in ("segments", "1", "2", "hits"):
        table.add_column(heading, justify="right", no_wrap=True)
    for field in FIELDS:
        for change in (*result.gains[field][:_NUM_CLASSES_PRINTED], *result.losses[field][:_NUM_CLASSES_PRINTED]):
            recalls = (f"{100 * change.first:.0f}", f"{100 * change.second:.0f}")
            hits = Text(f"{change.num_hits:+d}", style="green" if change.num_hits > 0 else "red")
            table.add_row(field, change.name, str(change.num_samples), *recalls, hits)
    return table


def _scores_table(names: list[str], num_samples: int, result: Comparison) -> Table:
    title = f"{names[0]} (1) against {names[1]} (2), {num_samples} segments"
    table = plain_table(title, left=("", "score"), right=("1", "2", "1 - 2", "interval", "p"))
    before = ""
    for row in result.scores:
        place = f"{row.subset} {row.field}"
        table.add_row(
            place if place != before else "",
            metrics()[row.metric].heading,
            f"{100 * row.first:.1f}",
            f"{100 * row.second:.1f}",
            f"{100 * row.difference:+.1f}",
            f"{100 * row.low:+.1f} .. {100 * row.high:+.1f}",
            "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}",
            style="bold" if row.p_value < 0.05 else "",
        )
        before = place
    return table


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

    Raises:
        SgearError: If options contradict each other, or files do not belong together.
    """
    names = _check_fusion(files, weights, rule, out, verb_weights, noun_weights, search_on, metric, num_steps)
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
    _print_fusion(names, [*tables, fused], used, rule, searches)
    say(f"wrote {out}")


def _check_fusion(
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


def _print_fusion(
    names: list[str],
    tables: Sequence[Predictions],
    used: dict[Field, Sequence[float]],
    rule: str,
    searches: dict[Field, WeightSearch],
) -> None:
    screen = open_screen()
    is_labelled = tables[-1].is_labelled
    columns = _weight_columns(used)
    table = plain_table(f"late fusion of {len(names)} models by the rule {rule}, {len(tables[-1])} segments")
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
    warn(caveats(tables[-1]), screen=screen)


def _weight_columns(used: dict[Field, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return the weights under their headings: one column where all fields have the same."""
    first, *others = used.values()
    if all(list(weights) == list(first) for weights in others):
        return {"weight": first}
    return {f"{name}\nweight": weights for name, weights in used.items()}


def _scores(predictions: Predictions) -> list[str]:
    values = score(predictions)["overall"]["action"]
    return [f"{100 * values[name]:.1f}" for name in metrics(brief=True)]
