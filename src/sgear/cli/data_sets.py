"""`sgear data kitchen`, `info` and `import`: make a data set, count one, and say what is wrong with own annotations."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgear.cli.terminal import open_screen, plain_table, progress_bar, say
from sgear.datasets import Benchmark, load_dataset
from sgear.datasets.own import FrameLabels, ImportResult, Problem, import_own
from sgear.datasets.statistics import SplitStatistics, Statistics, describe
from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, bayes_ceiling, build_kitchen, frequency_baseline
from sgear.taxonomy import FIELDS, Field


def render_kitchen(root: Path, config: KitchenConfig, *, with_videos: bool = True) -> Benchmark:
    """Make a kitchen, or reuse the same one, and print its counts and its Bayes ceiling."""
    num_processes = os.cpu_count() or 1
    if with_videos:
        with progress_bar("rendering videos") as progress:
            benchmark = build_kitchen(root, config, num_processes=num_processes, progress=progress)
    else:
        benchmark = build_kitchen(root, config, num_processes=num_processes, with_videos=False)
    ceiling = bayes_ceiling(benchmark.validation)
    floor = frequency_baseline(benchmark.train, benchmark.validation)
    say(
        f"{root}: {benchmark.train.num_videos} training videos with {len(benchmark.train)} actions, "
        f"{benchmark.validation.num_videos} validation videos with {len(benchmark.validation)}, "
        f"{benchmark.taxonomy.num_actions} classes\n"
        f"class-mean recall@5: frequency {100 * floor.class_mean_recall5:.1f} %, "
        f"Bayes ceiling {100 * ceiling.class_mean_recall5:.1f} %"
    )
    return benchmark


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
    table = plain_table(statistics.name, left=("",), right=statistics.splits)
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
    table = plain_table(left=("classes",), right=FIELDS)

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


MOST_SHOWN = 50
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def run_import(
    csv: Path,
    out: Path | None,
    *,
    validation_share: float | None = None,
    seed: int = 0,
    videos: Path | None = None,
    clip_s: float = 0.0,
    frames: FrameLabels | None = None,
    check_only: bool = False,
) -> ImportResult:
    """Check a csv, print what was found, and write the data set folder.

    Raises:
        SgearError: If the csv cannot be read, or a setting contradicts another one.
        typer.Exit: With code 2 if a row is wrong; nothing is written then.
    """
    if check_only == (out is not None):
        raise ConfigError("give either a folder to write, or --check to write nothing")
    result = import_own(
        csv, out, validation_share=validation_share, seed=seed, videos=videos, clip_s=clip_s, frames=frames
    )
    screen = open_screen()
    _print_problems(screen, result.problems)
    if not result.is_accepted:
        num_errors = sum(problem.level == "error" for problem in result.problems)
        say(f"{_count(num_errors, 'error')} in {csv}; nothing was written.", style="red", screen=screen)
        raise typer.Exit(2)
    _print_summary(screen, result)
    if result.out is not None:
        # Here, as it takes the extra `train`, which counts and checks do not need.
        from sgear.experiment.settings import as_override

        command = f"sgear train experiment=own/avt {as_override('dataset.root', result.out)}"
        say(f"Written to {result.out}. Train with: {command}", screen=screen)
    else:
        say("The file can be imported; nothing was written.", screen=screen)
    return result


def _print_problems(screen: Console, problems: tuple[Problem, ...]) -> None:
    for problem in problems[:MOST_SHOWN]:
        say(Text.assemble((problem.level, _COLOURS[problem.level]), f" {problem}"), screen=screen)
    hidden = problems[MOST_SHOWN:]
    if hidden:
        counts = [_count(sum(each.level == level for each in hidden), level) for level in _COLOURS]
        shown = ", ".join(text for text in counts if not text.startswith("0 "))
        say(f"... and {len(hidden)} more: {shown}", screen=screen)


def _print_summary(screen: Console, result: ImportResult) -> None:
    assert result.taxonomy is not None, "an accepted csv has classes"
    table = Table("split", "segments", "videos", *(["participants"] if result.has_participants else []), "classes")
    for name, counts in result.splits.items():
        people = [counts.participants] if result.has_participants else []
        table.add_row(name, *(f"{count:,}" for count in (counts.segments, counts.videos, *people, counts.classes)))
    screen.print(table)
    taxonomy = result.taxonomy
    is_labels = taxonomy.verbs == taxonomy.action_names
    parts = "" if is_labels else f" of {_count(len(taxonomy.verbs), 'verb')} and {_count(len(taxonomy.nouns), 'noun')}"
    say(f"{_count(taxonomy.num_actions, 'action class', 'action classes')}{parts}", screen=screen)
    say(f"Splits: {result.split_rule}", screen=screen)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
