"""Annotated action intervals: one checked table for every data set.

Times are seconds. A row that contradicts itself is refused with its file and row number; nothing is repaired or
dropped in silence. Segments of a test split have no labels: verb, noun and action are all -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.errors import AnnotationError
from sgear.taxonomy import Taxonomy

UNKNOWN_ACTION = -1

SCHEMA: dict[str, type[pl.DataType]] = {
    "uid": pl.String,
    "participant_id": pl.String,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "stop_s": pl.Float64,
    "verb_id": pl.Int64,
    "noun_id": pl.Int64,
    "action_id": pl.Int64,
}


@dataclass(frozen=True)
class ActionSegment:
    """One annotated action: `[start_s, stop_s)` of a video."""

    uid: str
    participant_id: str
    video_id: str
    start_s: float
    stop_s: float
    verb_id: int
    noun_id: int
    action_id: int


class SegmentTable:
    """An immutable table of `ActionSegment` rows with the columns of `SCHEMA`.

    Args:
        frame: Columns of `SCHEMA`; others are refused.
        taxonomy: Vocabulary that the ids refer to. An action id of -1 means a (verb, noun) pair without a class; all
            three -1 means that the label is not known.
        origin: Name of the file or generator, for error messages.
        lines: Line of each record in that file, where they do not simply follow a header of one line.

    Raises:
        AnnotationError: If a column, a value or a pair of values is wrong; names the row.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        taxonomy: Taxonomy,
        *,
        origin: str,
        lines: Sequence[int] | pl.Series | None = None,
    ) -> None:
        missing = [name for name in SCHEMA if name not in frame.columns]
        extra = [name for name in frame.columns if name not in SCHEMA]
        if missing or extra:
            raise AnnotationError(f"{origin}: missing columns {missing}, unknown columns {extra}")
        self.frame = frame.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        self.taxonomy = taxonomy
        self.origin = origin
        self._check(range(2, 2 + frame.height) if lines is None else lines)

    def _check(self, lines: Sequence[int] | pl.Series) -> None:
        indexed = self.frame.with_columns(pl.Series("row", lines, dtype=pl.Int64))
        is_unlabelled = pl.all_horizontal(pl.col("verb_id", "noun_id", "action_id") == UNKNOWN_ACTION)
        pair = [f"{name}_id" for name in ("verb", "noun")]
        bounds = [len(self.taxonomy.verbs), len(self.taxonomy.nouns)]
        problems: list[tuple[pl.Expr, str]] = [
            (pl.any_horizontal(pl.col(*SCHEMA).is_null()), "has an empty field"),
            (
                ~(pl.col("start_s").is_finite() & pl.col("stop_s").is_finite()),
                "has a time that is not a number",
            ),
            (pl.col("start_s") < 0, "starts before 0 s"),
            (pl.col("stop_s") <= pl.col("start_s"), "ends before it starts"),
            *(
                (
                    ((pl.col(name) < 0) | (pl.col(name) >= bound)) & ~is_unlabelled,
                    f"has a {name} outside 0..{bound - 1}",
                )
                for name, bound in zip(pair, bounds, strict=True)
            ),
            (
                (pl.col("action_id") < -1) | (pl.col("action_id") >= self.taxonomy.num_actions),
                f"has an action_id outside 0..{self.taxonomy.num_actions - 1}",
            ),
            (pl.col("uid").is_duplicated(), "repeats a uid"),
        ]
        for condition, text in problems:
            bad = indexed.filter(condition)
            if bad.height:
                row = bad.row(0, named=True)
                where = f"row {row['row']}, uid {row['uid']!r}"
                times = f"start {row['start_s']} s, stop {row['stop_s']} s"
                raise AnnotationError(
                    f"{self.origin}: {where} {text} ({times}); {bad.height} such rows. Correct the file."
                )

    def __len__(self) -> int:
        return self.frame.height

    def __iter__(self) -> Iterator[ActionSegment]:
        return (ActionSegment(**row) for row in self.frame.iter_rows(named=True))

    def __repr__(self) -> str:
        return f"SegmentTable({len(self)} segments of {self.num_videos} videos, {self.origin})"

    @property
    def is_labelled(self) -> bool:
        """Whether every segment has an action to compare a forecast with."""
        return bool((self.frame["action_id"] >= 0).all())

    @property
    def num_videos(self) -> int:
        """Number of different videos."""
        return self.frame["video_id"].n_unique()

    @property
    def video_ids(self) -> list[str]:
        """The different video ids, in order of first appearance."""
        return self.frame["video_id"].unique(maintain_order=True).to_list()

    @property
    def uids(self) -> list[str]:
        """The uid of each row."""
        return self.frame["uid"].to_list()

    def column(self, name: str) -> NDArray:
        """Return one column as an array [M]."""
        return self.frame[name].to_numpy()

    def filter(self, condition: pl.Expr) -> SegmentTable:
        """Return the rows that fulfil a polars condition, in order."""
        return SegmentTable(self.frame.filter(condition), self.taxonomy, origin=self.origin)

    def take(self, mask: NDArray[np.bool_]) -> SegmentTable:
        """Return the rows where `mask` [M] is true, in order."""
        return SegmentTable(self.frame.filter(pl.Series(mask)), self.taxonomy, origin=self.origin)

    def of_video(self, video_id: str) -> SegmentTable:
        """Return the rows of one video, sorted by start."""
        rows = self.frame.filter(pl.col("video_id") == video_id).sort("start_s")
        return SegmentTable(rows, self.taxonomy, origin=self.origin)

    def action_counts(self) -> NDArray[np.int64]:
        """Return the number of segments of each action, [A]."""
        actions = self.column("action_id")
        return np.bincount(actions[actions >= 0], minlength=self.taxonomy.num_actions)
