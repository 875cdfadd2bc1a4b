"""`sgear compare`: is one model better than another on the same segments, and where?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from sgear.cli.pages import require_page
from sgear.cli.prediction_files import caveats, labels, load_predictions
from sgear.cli.screen import open_screen, say, write_out
from sgear.datasets import Benchmark, load_dataset
from sgear.errors import ConfigError, PredictionError
from sgear.metrics import metrics
from sgear.predictions import Predictions
from sgear.predictions.compare import Comparison, compare
from sgear.predictions.evaluated import evaluated_part
from sgear.predictions.scoring import Subsets
from sgear.predictions.skipped import KEY, skipped_of
from sgear.taxonomy import FIELDS

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

    Args:
        first: File of predictions or run directory.
        second: The other one; differences are first minus second.
        as_json: Print one JSON object in place of tables.
        dataset: Data set whose subsets (unseen, tail) are compared too; its validation split must be the segments.
        root: Folder of its annotations. Default: under SGEAR_DATA.
        out: HTML page to write.
        num_resamples: Resamples of the intervals.
        seed: Seed of the resamples.

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
        from sgear.report.comparison import write_comparison

        write_comparison(one, other, (names[0], names[1]), out, subsets=subsets, result=result)
    if as_json:
        skipped = [skipped_of(table.provenance) for table in (one, other)]
        document = {
            "first": names[0],
            "second": names[1],
            "protocol": one.protocol,
            "is_benchmark": not any(map(caveats, (one, other))),
            **({"caveats": warnings} if (warnings := _warnings(names, one, other)) else {}),
            **({KEY: skipped} if any(skipped) else {}),
            **result.to_dict(),
        }
        write_out(json.dumps(document) + "\n")
        return
    _print(names, one, result, _warnings(names, one, other))
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


def _print(names: list[str], table: Predictions, result: Comparison, warnings: list[str]) -> None:
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
    for warning in warnings:
        say(f"warning: {warning}", style="yellow", screen=screen)


def _changes_table(names: list[str], result: Comparison) -> Table:
    table = Table(
        title=f"classes whose top-5 hits differ most between {names[0]} (1) and {names[1]} (2)",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("field", no_wrap=True)
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
    table = Table(
        title=f"{names[0]} (1) against {names[1]} (2), {num_samples} segments", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("", "score"):
        table.add_column(heading, no_wrap=True)
    for heading in ("1", "2", "1 - 2", "interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
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
