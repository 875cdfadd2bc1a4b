"""`check_own` says what is wrong with a csv of own annotations, `import_own` makes a data set folder of it.

Where the csv does not say who is trained on and who is validated on, whole participants are divided, else whole videos:
nobody is on both sides. Of the ways to do that, the one is taken whose cost is least: the distance of the validation
share from the wanted one, plus the share of segments that are validated but whose class is never trained.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sgear.datasets.own.checks import (
    Clipped,
    check_classes,
    check_doubles,
    check_names,
    check_splits,
    check_times,
    check_videos,
)
from sgear.datasets.own.folder import check_free, make_taxonomy, write_folder
from sgear.datasets.own.frame_wise import FrameLabels, is_frame_wise, read_frame_wise
from sgear.datasets.own.rows import SPLITS, OwnRow, OwnTable, Problem, ProblemList, read_own
from sgear.errors import ConfigError
from sgear.taxonomy import FIELDS, Taxonomy

DEFAULT_VALIDATION_SHARE = 0.2
# Up to here all 2^G divisions are tried, above a fixed number of random ones.
_MOST_GROUPS_TO_ENUMERATE = 12
_NUM_RANDOM_ORDERS = 2000
_CHUNK = 256
# Bounds memory and time where there are very many classes or groups; fewer divisions are tried then.
_MOST_CELLS = 10_000_000


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
        problems: Everything that is wrong, errors first.
        split_rule: How the splits came about, in words; empty where there are errors.
        splits: Counts of each split that has rows.
        taxonomy: The classes; None where there are errors.
        has_participants: Whether the csv names participants.
        out: The folder that was written; None where nothing was.
    """

    problems: tuple[Problem, ...]
    split_rule: str = ""
    splits: dict[str, SplitCounts] = field(default_factory=dict)
    taxonomy: Taxonomy | None = None
    has_participants: bool = False
    out: Path | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether no problem is an error."""
        return all(problem.level != "error" for problem in self.problems)


def import_own(
    csv_path: Path,
    out: Path | None,
    *,
    validation_share: float | None = None,
    seed: int = 0,
    videos: Path | None = None,
    clip_s: float = 0.0,
    frames: FrameLabels | None = None,
) -> ImportResult:
    """Check every row of own annotations, and write the data set folder unless there is an error.

    Args:
        csv_path: The csv, see `sgear.datasets.own.rows`; or frame-wise labels, see `sgear.datasets.own.frame_wise`.
        out: Folder to write, new or empty; it comes whole or not at all. None: check only, see `check_own`.
        validation_share: Wanted share of validation segments, in (0, 1), where there is no column `split`.
            Default: 0.2.
        seed: Seed of the splits.
        videos: Folder of the videos; opens each of them.
        clip_s: Stops up to so many seconds after the end of their video are moved to it.
        frames: How frame-wise labels are read; needed for them, and for nothing else.

    Raises:
        AnnotationError: If the file cannot be read at all, or there is something at `out`.
        ConfigError: If a number is out of range, `validation_share` is given and there is a column `split`, or
            `clip_s` without `videos`.
        VideoError: If there is no folder `videos`.
    """
    if validation_share is not None and not 0 < validation_share < 1:
        raise ConfigError(f"the validation share must be between 0 and 1, got {validation_share:g}")
    if not 0 <= clip_s < float("inf"):
        raise ConfigError(f"--clip-to-video must be finite and not negative, got {clip_s:g}")
    if clip_s and videos is None:
        raise ConfigError("--clip-to-video has no effect without --videos: nothing says where the videos end")
    if out is not None:
        check_free(out)
    problems = ProblemList()
    frames = FrameLabels() if frames is None else frames
    if is_frame_wise(csv_path, frames):
        table: OwnTable | None = read_frame_wise(csv_path, problems, frames)
    elif frames != FrameLabels():
        raise ConfigError(
            f"{csv_path} is a csv: --fps, --no-action, --participant, --mapping and --key are for labels "
            "of frames (a folder, .txt, .npz or .mat); leave them out"
        )
    else:
        table = read_own(csv_path, problems)
    if table is None:
        return ImportResult(problems=problems.sorted())
    if table.has_splits and validation_share is not None:
        raise ConfigError(
            f"validation_share={validation_share:g} has no effect: {csv_path} has a column split. "
            "Give one or the other."
        )
    clipped: tuple[Clipped, ...] = ()
    if videos is not None:
        rows, clipped = check_videos(table.rows, videos, problems, clip_s=clip_s)
        table = replace(table, rows=rows)
    check_doubles(table.rows, problems)
    check_names(table.rows, table.style, problems)
    rule = "as the column split says"
    if not problems.num_errors and not table.has_splits:
        share = DEFAULT_VALIDATION_SHARE if validation_share is None else validation_share
        rows, rule = _split_rows(table.rows, validation_share=share, seed=seed, problems=problems)
        table = replace(table, rows=rows)
    # Rows that are missing for an error of their own would make what follows untrue.
    if not problems.num_errors:
        check_splits(table.rows, problems)
        check_classes(table.rows, problems)
        check_times(table.rows, problems)
    result = ImportResult(problems=problems.sorted(), has_participants=table.has_participants)
    if problems.num_errors:
        return result
    counts = {split: _count(table, split) for split in SPLITS if any(row.split == split for row in table.rows)}
    taxonomy = make_taxonomy(table.rows)
    if out is not None:
        summary = {
            "source": csv_path.name,
            "split_rule": rule,
            "splits": {name: vars(count) for name, count in counts.items()},
            "classes": {field: len(taxonomy.names(field)) for field in FIELDS},
            "clipped": [vars(each) for each in clipped],
            "warnings": [str(problem) for problem in result.problems if problem.level == "warning"],
        }
        write_folder(table, taxonomy, summary, out)
    return replace(result, split_rule=rule, splits=counts, taxonomy=taxonomy, out=out)


check_own = partial(import_own, out=None)
"""Say what is wrong with a csv as `import_own` does, and write nothing."""


def _count(table: OwnTable, split: str) -> SplitCounts:
    rows = [row for row in table.rows if row.split == split]
    return SplitCounts(
        segments=len(rows),
        videos=len({row.video for row in rows}),
        participants=len({row.participant for row in rows} - {None}),
        classes=len({row.names for row in rows if row.names}),
    )


def _split_rows(
    rows: Sequence[OwnRow], *, validation_share: float, seed: int, problems: ProblemList
) -> tuple[tuple[OwnRow, ...], str]:
    """Return labelled rows with a split, and the rule that was used in words.

    An error goes to `problems` where there is one video alone, and a note where people cannot be kept apart.
    """
    people = {row.participant for row in rows}
    by_person = None not in people and len(people) > 1
    groups = [str(row.participant) if by_person else row.video for row in rows]
    if len(set(groups)) < 2:
        remedy = "Add a second video, or a column split that divides the rows"
        problems.error("all rows belong to one video, so no video can be kept for validation", remedy)
        return tuple(rows), "none"
    if len(people) == 1 and None not in people:
        problems.note("all rows belong to one participant", "The splits are made by video")
    classes = {names: index for index, names in enumerate(sorted({row.names for row in rows}))}
    held_out = choose_groups(groups, [classes[row.names] for row in rows], share=validation_share, seed=seed)
    divided = tuple(
        replace(row, split="validation" if group in held_out else "train")
        for row, group in zip(rows, groups, strict=True)
    )
    kind = "participant" if by_person else "video"
    rule = f"by {kind}, seed {seed}, wanted validation share {validation_share:g}: no {kind} is in both splits"
    return divided, rule


def choose_groups(groups: Sequence[str], classes: Sequence[int], *, share: float, seed: int) -> frozenset[str]:
    """Return the groups to validate on.

    Args:
        groups: Group of each segment, at least two different ones.
        classes: Class of each segment.
        share: Wanted share of validation segments, in (0, 1).
        seed: Seed of the order of groups; of divisions of equal cost the first wins.
    """
    names = np.random.default_rng(seed).permutation(sorted(set(groups)))
    place = {name: index for index, name in enumerate(names.tolist())}
    groups_of: dict[int, set[int]] = defaultdict(set)
    for group, label in zip(groups, classes, strict=True):
        groups_of[label].add(place[group])
    # Classes that occur in the same groups are counted together; of 100,000 classes few sets of groups are left.
    counts = Counter(frozenset(groups_of[label]) for label in classes)
    rows, columns = zip(*((row, column) for row, members in enumerate(counts) for column in members), strict=True)
    members = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(counts), len(names)))
    sizes = np.bincount([place[group] for group in groups])
    num_segments = np.array(list(counts.values()), dtype=np.float64)
    chunk = max(1, min(_CHUNK, _MOST_CELLS // len(counts)))
    best_cost, best = np.inf, np.zeros(len(names), dtype=bool)
    for masks in _divisions(sizes, share, seed, chunk):
        # Products of floats are many times faster than those of integers, and as exact for counts.
        is_untrained = np.equal(members @ masks.T.astype(np.float64), np.diff(members.indptr)[:, None])
        untrained = num_segments @ is_untrained.astype(np.float64)
        costs = np.abs(masks @ sizes.astype(np.float64) / sizes.sum() - share) + untrained / sizes.sum()
        if costs.min() < best_cost - 1e-12:
            best_cost, best = costs.min(), masks[costs.argmin()]
    return frozenset(names[best].tolist())


def _divisions(sizes: NDArray[np.int64], share: float, seed: int, chunk: int) -> Iterator[NDArray[np.bool_]]:
    """Yield divisions [S G], so many at once; none leaves a side empty."""
    num_groups = len(sizes)
    if num_groups <= _MOST_GROUPS_TO_ENUMERATE:
        codes = np.arange(1, 2**num_groups - 1)
        masks = (codes[:, None] >> np.arange(num_groups)) % 2 == 1
    else:
        rng = np.random.default_rng(seed)
        num_orders = max(1, min(_NUM_RANDOM_ORDERS, _MOST_CELLS // num_groups))
        orders = np.stack([rng.permutation(num_groups) for _ in range(num_orders)])
        # The groups of each order up to the wanted share, and one less.
        reached = np.cumsum(sizes[orders], axis=1) >= share * sizes.sum()
        upper = np.clip(reached.argmax(axis=1) + 1, 1, num_groups - 1)
        lengths = np.concatenate([upper, np.maximum(upper - 1, 1)])
        ranks = np.tile(np.argsort(orders, axis=1), (2, 1))
        masks = ranks < lengths[:, None]
    for first in range(0, len(masks), chunk):
        yield masks[first : first + chunk]
