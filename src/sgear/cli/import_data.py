"""`sgear data import`: say what is wrong with a csv of own annotations, row by row, and make a data set of it."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgear.cli.screen import open_screen, say
from sgear.datasets.own import ImportResult, Problem, check_own, import_own
from sgear.errors import ConfigError
from sgear.experiment.settings import as_override

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
    check_only: bool = False,
) -> ImportResult:
    """Check a csv, print what was found, and write the data set folder.

    Args:
        csv: One action per row.
        out: Folder to write.
        validation_share: Share of validation segments where there is no column split.
        seed: Seed of the splits.
        videos: Folder of the videos, to check that each row lies within its video.
        clip_s: Stops up to so many seconds after the end of their video are moved to it.
        check_only: Write nothing; `out` is then not allowed.

    Raises:
        SgearError: If the csv cannot be read, or a setting contradicts another one.
        typer.Exit: With code 2 if a row is wrong; nothing is written then.
    """
    if check_only == (out is not None):
        raise ConfigError("give either a folder to write, or --check to write nothing")
    if validation_share is not None and not 0 < validation_share < 1:
        raise ConfigError(f"the validation share must be between 0 and 1, got {validation_share:g}")
    if out is None:
        result = check_own(csv, validation_share=validation_share, seed=seed, videos=videos, clip_s=clip_s)
    else:
        result = import_own(csv, out, validation_share=validation_share, seed=seed, videos=videos, clip_s=clip_s)
    screen = open_screen()
    _print_problems(screen, result.problems)
    if not result.is_accepted:
        num_errors = sum(problem.level == "error" for problem in result.problems)
        say(f"{_count(num_errors, 'error')} in {csv}; nothing was written.", style="red", screen=screen)
        raise typer.Exit(2)
    _print_summary(screen, result)
    if result.out is not None:
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
