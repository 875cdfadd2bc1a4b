"""`check_own` says what is wrong with a csv of own annotations, `import_own` makes a data set folder of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sgear.datasets.own.checks import (
    Clipped,
    check_classes,
    check_doubles,
    check_films,
    check_names,
    check_splits,
    check_times,
)
from sgear.datasets.own.folder import check_free, make_taxonomy, write_folder
from sgear.datasets.own.rows import SPLITS, OwnTable, Problem, ProblemList, read_own
from sgear.datasets.own.splits import split_rows
from sgear.errors import ConfigError
from sgear.taxonomy import Taxonomy

DEFAULT_VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds."""

    segments: int
    videos: int
    participants: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What came out of a csv.

    Args:
        source: The csv.
        problems: Everything that is wrong, errors first.
        split_rule: How the splits came about, in words; empty where there are errors.
        splits: Counts of each split that has rows.
        taxonomy: The classes; None where there are errors.
        has_participants: Whether the csv names participants.
        out: The folder that was written; None where nothing was.
        clipped: The stops that were moved to the end of their video.
    """

    source: Path
    problems: tuple[Problem, ...]
    split_rule: str = ""
    splits: dict[str, SplitCounts]
    taxonomy: Taxonomy | None = None
    has_participants: bool = False
    out: Path | None = None
    clipped: tuple[Clipped, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether no problem is an error."""
        return all(problem.level != "error" for problem in self.problems)


def check_own(
    csv_path: Path,
    *,
    validation_share: float | None = None,
    seed: int = 0,
    tau_a_s: float = 1.0,
    videos: Path | None = None,
    clip_s: float = 0.0,
) -> ImportResult:
    """Check every row of a csv of own annotations, and write nothing.

    Args:
        csv_path: The csv, see `sgear.datasets.own.rows`.
        validation_share: Wanted share of validation segments, in (0, 1), where there is no column `split`.
            Default: 0.2.
        seed: Seed of the splits.
        tau_a_s: Anticipation time in seconds by which early segments are noted.
        videos: Folder of the videos; opens each of them.
        clip_s: Stops up to so many seconds after the end of their video are moved to it.

    Raises:
        AnnotationError: If the file cannot be read as csv at all.
        ConfigError: If `validation_share` is given and there is a column `split`, or `clip_s` without `videos`.
        VideoError: If there is no folder `videos`.
        ValueError: If a number is out of range.
    """
    return _check(csv_path, validation_share, seed, tau_a_s, videos, clip_s)[0]


def import_own(
    csv_path: Path,
    out: Path,
    *,
    validation_share: float | None = None,
    seed: int = 0,
    tau_a_s: float = 1.0,
    videos: Path | None = None,
    clip_s: float = 0.0,
) -> ImportResult:
    """Check a csv as `check_own` does and write the data set folder, unless there is an error.

    Args:
        csv_path: The csv.
        out: Folder to write, new or empty; it comes whole or not at all.
        validation_share: See `check_own`.
        seed: See `check_own`.
        tau_a_s: See `check_own`.
        videos: See `check_own`.
        clip_s: See `check_own`.

    Raises:
        AnnotationError: As `check_own`, or if there is something at `out`.
        ConfigError: As `check_own`.
        VideoError: As `check_own`.
        ValueError: As `check_own`.
    """
    check_free(out)
    result, table = _check(csv_path, validation_share, seed, tau_a_s, videos, clip_s)
    if table is None or result.taxonomy is None:
        return result
    summary = {
        "source": csv_path.name,
        "split_rule": result.split_rule,
        "splits": {name: vars(counts) for name, counts in result.splits.items()},
        "classes": {field: len(result.taxonomy.names(field)) for field in ("verb", "noun", "action")},
        "clipped": [vars(each) for each in result.clipped],
        "warnings": [str(problem) for problem in result.problems if problem.level == "warning"],
    }
    write_folder(table, result.taxonomy, summary, out)
    return replace(result, out=out)


def _check(
    csv_path: Path, validation_share: float | None, seed: int, tau_a_s: float, videos: Path | None, clip_s: float
) -> tuple[ImportResult, OwnTable | None]:
    """Return what came out, and the rows with their splits where there is no error."""
    if validation_share is not None and not 0 < validation_share < 1:
        raise ValueError(f"validation_share must be between 0 and 1, got {validation_share}")
    if not tau_a_s > 0:
        raise ValueError(f"tau_a_s must be positive, got {tau_a_s}")
    if not 0 <= clip_s < float("inf"):
        raise ValueError(f"clip_s must be finite and not negative, got {clip_s}")
    if clip_s and videos is None:
        raise ConfigError("--clip-to-video has no effect without --videos: nothing says where the videos end")
    problems = ProblemList()
    table = read_own(csv_path, problems)
    if table is None:
        return ImportResult(source=csv_path, problems=problems.sorted(), splits={}), None
    if table.has_splits and validation_share is not None:
        raise ConfigError(
            f"validation_share={validation_share:g} has no effect: {csv_path} has a column split. "
            "Give one or the other."
        )
    clipped: tuple[Clipped, ...] = ()
    if videos is not None:
        rows, clipped = check_films(table.rows, videos, problems, clip_s=clip_s)
        table = replace(table, rows=rows)
    check_doubles(table.rows, problems)
    check_names(table.rows, table.style, problems)
    rule = "as the column split says"
    if not problems.num_errors and not table.has_splits:
        share = DEFAULT_VALIDATION_SHARE if validation_share is None else validation_share
        rows, rule = split_rows(table.rows, validation_share=share, seed=seed, problems=problems)
        table = replace(table, rows=rows)
    # Rows that are missing for an error of their own would make what follows untrue.
    if not problems.num_errors:
        check_splits(table.rows, problems)
        check_classes(table.rows, problems)
        check_times(table.rows, tau_a_s, problems)
    result = ImportResult(
        source=csv_path,
        problems=problems.sorted(),
        splits={},
        has_participants=table.has_participants,
        clipped=clipped,
    )
    if problems.num_errors:
        return result, None
    counts = {split: _count(table, split) for split in SPLITS if any(row.split == split for row in table.rows)}
    return replace(result, split_rule=rule, splits=counts, taxonomy=make_taxonomy(table.rows)), table


def _count(table: OwnTable, split: str) -> SplitCounts:
    rows = [row for row in table.rows if row.split == split]
    return SplitCounts(
        segments=len(rows),
        videos=len({row.video for row in rows}),
        participants=len({row.participant for row in rows} - {None}),
        classes=len({row.names for row in rows if row.names}),
    )
