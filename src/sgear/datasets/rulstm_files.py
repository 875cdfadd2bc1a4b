"""Parts of the split files of RULSTM: video lists, action lists, and segments in frames of films at 30 fps.

No file of segments has a header, and the columns of the action lists differ between the data sets. A frame number is
floor(30 t), where t is the official time, and 0 is written as 1; so frame / 30 is at most 1/30 s early, and late only
for segments that begin with the film.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from sgear.datasets.epic_files import labelled_segments, unlabelled_segments
from sgear.datasets.text_table import TextTable, read_csv
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

FPS = 30.0
REMEDY = "Expected a data folder of github.com/fpv-iplab/rulstm: check the path, or get it again."
_TIMES = ("uid", "video", "start_frame", "stop_frame")
_LABELS = ("verb", "noun", "action")


def read_ids(path: Path) -> list[str]:
    """Return the values of a file with one value per line: videos, or uids.

    Raises:
        AnnotationError: If the file is missing or empty, a line is, or a value repeats.
    """
    table = read_csv(path, ["id"], has_header=False, remedy=REMEDY)
    table.refuse(pl.col("id").is_duplicated(), "id", "each value once")
    return table.text("id").to_list()


def read_actions(
    path: Path, *, num_verbs: int | None = None, num_nouns: int | None = None
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return (verb id, noun id) and name of each action of an EPIC-KITCHENS list; columns in any order.

    Args:
        path: The file.
        num_verbs: Verb classes that there are. Default: as many as the list needs.
        num_nouns: Noun classes that there are. Default: as many as the list needs.

    Raises:
        AnnotationError: If the file is missing or wrong, or its ids are not 0, 1, 2, ... in order.
    """
    table = read_csv(path, ["id", *_LABELS], remedy=REMEDY)
    refuse_gaps(table, "id")
    verbs, nouns = (
        table.integers(name, high=None if size is None else size - 1).to_list()
        for name, size in (("verb", num_verbs), ("noun", num_nouns))
    )
    return tuple(zip(verbs, nouns, strict=True)), tuple(table.text("action").to_list())


def refuse_gaps(table: TextTable, column: str) -> None:
    """Raise unless a column counts 0, 1, 2, ... in order."""
    ids = table.integers(column).to_numpy()
    table.refuse(pl.lit(pl.Series(ids != np.arange(len(ids)))), column, "the ids 0, 1, 2, ... in order")


def read_segments(path: Path, taxonomy: Taxonomy, *, has_labels: bool = True) -> SegmentTable:
    """Read a file of segments: uid, video, start and stop frame, and verb, noun and action where they are published.

    Args:
        path: The file.
        taxonomy: Vocabulary of the labels.
        has_labels: Whether the three columns of labels are there.

    Returns:
        Segments with times in seconds; `00330` and `330` are the same uid `330`. The participant is the part of the
        video name before `_` or `-`.

    Raises:
        AnnotationError: If the file is missing or wrong, or an action is not that verb with that noun.
    """
    table = read_csv(path, [*_TIMES, *(_LABELS if has_labels else ())], has_header=False, remedy=REMEDY)
    uids = table.text("uid").str.replace(r"^0+(\d+)$", "${1}")
    videos = table.text("video")
    table.refuse(~pl.col("video").str.contains(r"^[A-Z]+\d+[_-]"), "video", "a video such as P01_01 or P07-R01-Salad")
    rows = pl.DataFrame(
        {
            "uid": uids,
            "participant_id": videos.str.extract(r"^([A-Z]+\d+)"),
            "video_id": videos,
            "start_s": table.integers("start_frame").to_numpy() / FPS,
            "stop_s": table.integers("stop_frame").to_numpy() / FPS,
        }
    )
    if not has_labels:
        return unlabelled_segments(rows, taxonomy, origin=str(path), lines=table.lines)
    bounds = {"verb": taxonomy.verbs, "noun": taxonomy.nouns, "action": taxonomy.action_names}
    verbs, nouns, actions = (table.integers(name, high=len(names) - 1) for name, names in bounds.items())
    rows = rows.with_columns(verbs.alias("verb_id"), nouns.alias("noun_id"))
    segments = labelled_segments(rows, taxonomy, origin=str(path), lines=table.lines)
    is_wrong = segments.column("action_id") != actions.to_numpy()
    table.refuse(pl.lit(pl.Series(is_wrong)), "action", "the id of its verb with its noun in actions.csv")
    return segments


def check_videos(path: Path, segments: SegmentTable) -> None:
    """Hold a file of segments against the list of its videos.

    Raises:
        AnnotationError: If a segment is of a video that is not in the list.
    """
    listed = set(read_ids(path))
    strange = [video for video in segments.video_ids if video not in listed]
    if strange:
        raise AnnotationError(
            f"{segments.origin}: video {strange[0]} is not in {path.name}; {len(strange)} such videos. "
            "Take both files from the same release."
        )
