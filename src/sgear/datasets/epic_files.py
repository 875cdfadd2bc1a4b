"""What the loaders of EPIC-KITCHENS share: class files, lists of classes, and rows of segments with timestamps.

Times come from the timestamps alone: the frame numbers beside them count at the frame rate of each camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from sgear.datasets.text_table import TextTable, read_csv
from sgear.errors import AnnotationError
from sgear.segments import UNKNOWN_ACTION, SegmentTable
from sgear.taxonomy import Taxonomy

TIME_COLUMNS = ("participant_id", "video_id", "start_timestamp", "stop_timestamp")
CLASS_COLUMNS = ("verb_class", "noun_class")


def published_order(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort (verb id, noun id) pairs so that their positions are the published action ids.

    The published ids follow the text `<verb id>_<noun id>`, so verb 10 comes before verb 1: 0_0, 0_1, 0_10, 0_100.

    Source:
        fpv-iplab/rulstm, data/ek55/actions.csv and data/ek100/actions.csv; used by AVT and S-GEAR as well.
    """
    return tuple(sorted(pairs, key=lambda pair: f"{pair[0]}_{pair[1]}"))


def class_names(path: Path, *, id_column: str, name_column: str, remedy: str) -> tuple[str, ...]:
    """Return the names of a class file, whose ids must be 0, 1, 2, ... in order.

    Raises:
        AnnotationError: If the file is missing or wrong.
    """
    table = read_csv(path, [id_column, name_column], remedy=remedy)
    table.refuse(
        pl.col(id_column) != pl.int_range(pl.len()).cast(pl.String), id_column, "the ids 0, 1, 2, ... in order"
    )
    return tuple(table.text(name_column).to_list())


def class_ids(path: Path, column: str, *, num_classes: int, remedy: str) -> frozenset[int]:
    """Return the ids of a list of classes.

    Raises:
        AnnotationError: If the file is missing or holds something else than ids below `num_classes`.
    """
    return frozenset(read_csv(path, [column], remedy=remedy).integers(column, high=num_classes - 1).to_list())


def timed_rows(table: TextTable, *, uid_column: str, is_uid_number: bool) -> pl.DataFrame:
    """Return uid, participant, video and times of each row.

    Args:
        table: Holds `uid_column` and `TIME_COLUMNS`.
        uid_column: Column of the uids.
        is_uid_number: Uids are whole numbers; `007` and `7` are the same uid `7`.

    Raises:
        AnnotationError: If a field is empty or no time.
    """
    uids = table.integers(uid_column).cast(pl.String) if is_uid_number else table.text(uid_column)
    return pl.DataFrame(
        {
            "uid": uids,
            "participant_id": table.text("participant_id"),
            "video_id": table.text("video_id"),
            "start_s": table.timestamps("start_timestamp"),
            "stop_s": table.timestamps("stop_timestamp"),
        }
    )


def classes(table: TextTable, *, num_verbs: int, num_nouns: int) -> pl.DataFrame:
    """Return verb and noun id of each row.

    Raises:
        AnnotationError: If a field is no class.
    """
    verb, noun = CLASS_COLUMNS
    return pl.DataFrame(
        {"verb_id": table.integers(verb, high=num_verbs - 1), "noun_id": table.integers(noun, high=num_nouns - 1)}
    )


def labelled_segments(
    rows: pl.DataFrame, taxonomy: Taxonomy, *, origin: str, lines: pl.Series, actions_file: Path | None = None
) -> SegmentTable:
    """Return rows with verb and noun ids as segments with action ids.

    Args:
        rows: Columns of a `SegmentTable` but `action_id`.
        taxonomy: Holds the action classes.
        origin: See `SegmentTable`.
        lines: See `SegmentTable`.
        actions_file: Where the action classes come from, for the message.

    Raises:
        AnnotationError: If a pair of verb and noun is no action class, or a row is wrong.
    """
    action_of_pair = np.full((len(taxonomy.verbs), len(taxonomy.nouns)), UNKNOWN_ACTION)
    action_of_pair[taxonomy.verb_of_action, taxonomy.noun_of_action] = np.arange(taxonomy.num_actions)
    actions = action_of_pair[rows["verb_id"].to_numpy(), rows["noun_id"].to_numpy()]
    unknown = np.flatnonzero(actions == UNKNOWN_ACTION)
    if len(unknown):
        first = int(unknown[0])
        raise AnnotationError(
            f"{origin}, line {lines[first]}: verb {rows['verb_id'][first]} with noun {rows['noun_id'][first]} is no "
            f"action class{f' of {actions_file}' if actions_file else ''}; {len(unknown)} such rows. "
            "Take both files from the same release."
        )
    frame = rows.with_columns(pl.Series("action_id", actions))
    return SegmentTable(frame, taxonomy, origin=origin, lines=lines)


def unlabelled_segments(rows: pl.DataFrame, taxonomy: Taxonomy, *, origin: str, lines: pl.Series) -> SegmentTable:
    """Return rows of a test split, whose labels are not published, as segments."""
    unknown = [pl.lit(UNKNOWN_ACTION).alias(f"{name}_id") for name in ("verb", "noun", "action")]
    return SegmentTable(rows.with_columns(unknown), taxonomy, origin=origin, lines=lines)
