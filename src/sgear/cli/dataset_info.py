"""`sgear data info`: the counts of a data set, to be checked against the published ones."""

from __future__ import annotations

import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from sgear.cli.screen import open_screen, say
from sgear.datasets import load_dataset
from sgear.datasets.statistics import SplitStatistics, Statistics, describe
from sgear.errors import ConfigError
from sgear.taxonomy import FIELDS, Field


def run_info(
    name: str,
    root: Path | None = None,
    split: int = 1,
    tau_a_s: float | None = None,
    *,
    granularity: str = "mid",
    as_json: bool = False,
    console: Console | None = None,
) -> None:
    """Print the counts of a data set.

    Args:
        name: One of `dataset_names()`.
        root: See `load_dataset`.
        split: See `load_dataset`.
        tau_a_s: Anticipation time in seconds. Default: the one usual for the data set.
        granularity: See `load_dataset`.
        as_json: Print JSON and nothing else.
        console: Where to print. Default: standard output.

    Raises:
        SgearError: If a setting is wrong, or the files are not found or are wrong.
    """
    console = open_screen() if console is None else console
    benchmark = load_dataset(name, root, split=split, granularity=granularity)
    try:
        statistics = describe(benchmark, tau_a_s=tau_a_s)
    except ValueError as err:
        raise ConfigError(f"--tau-a: {err}") from err
    files = {"train": benchmark.train.origin, "validation": benchmark.validation.origin}
    files |= {kind: table.origin for kind, table in benchmark.tests.items()}
    if as_json:
        say(json.dumps({**statistics.to_dict(), "files": files}, indent=2), screen=console)
        return
    _print_splits(statistics, console)
    _print_classes(statistics, console)
    for kind, origin in files.items():
        say(f"{kind}: {origin}", style="dim", screen=console)


def _print_splits(statistics: Statistics, console: Console) -> None:
    table = Table(title=statistics.name, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in statistics.splits:
        table.add_column(name, justify="right")
    for label, cells in _split_rows(list(statistics.splits.values()), statistics.tau_a_s):
        table.add_row(label, *cells)
    console.print(table)


def _split_rows(splits: list[SplitStatistics], tau_a_s: float) -> list[tuple[str, list[str]]]:
    rows = [
        ("segments", [f"{each.num_segments:,}" for each in splits]),
        ("videos", [f"{each.num_videos:,}" for each in splits]),
        ("participants", [f"{each.num_participants:,}" for each in splits]),
    ]
    if any(each.num_labelled < each.num_segments for each in splits):
        rows.append(("segments with an action", [f"{each.num_labelled:,}" for each in splits]))
    rows += [
        (f"{field}s that occur", [_labelled(each, f"{each.num_classes[field]:,}") for each in splits])
        for field in FIELDS
    ]
    return [
        *rows,
        (f"nothing to see at tau_a = {tau_a_s:g} s", [f"{each.num_blind:,}" for each in splits]),
        ("overlapping another segment", [f"{each.num_overlapping:,}" for each in splits]),
        ("median length, s", [f"{each.median_length_s:.2f}" for each in splits]),
        ("mean length, s", [f"{each.mean_length_s:.2f}" for each in splits]),
        ("longer than 1 s, %", [f"{100 * each.longer_than_1s:.1f}" for each in splits]),
        ("median first start to last stop, s", [f"{each.median_span_s:.0f}" for each in splits]),
        ("longest first start to last stop, s", [f"{each.max_span_s:.0f}" for each in splits]),
    ]


def _labelled(split: SplitStatistics, text: str) -> str:
    return text if split.num_labelled else "-"


def _print_classes(statistics: Statistics, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("classes")
    for field in FIELDS:
        table.add_column(field, justify="right")

    def row(label: str, values: dict[Field, int]) -> None:
        table.add_row(label, *(f"{values[field]:,}" for field in FIELDS))

    row("in the vocabulary", statistics.num_classes)
    if statistics.num_many_shot:
        row("many-shot", statistics.num_many_shot)
    if any(statistics.num_tail_classes.values()):
        row("tail, in validation", statistics.num_tail_classes)
    for name, values in statistics.num_in_subset.items():
        row(f"validation segments, {name}", values)
    console.print(table)
    say(
        f"{statistics.num_untrained_classes:,} action classes of the validation split never occur in training "
        f"({statistics.num_untrained_segments:,} segments); {statistics.num_single_classes:,} have a single segment",
        screen=console,
    )
