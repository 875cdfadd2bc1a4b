"""EPIC-KITCHENS-100: the official annotation files as a `Benchmark`.

Names are the `key` column of the class files, unchanged (`tap:hot` stays `tap:hot`). The actions are all
(verb, noun) pairs of training and validation together, sorted; on the official files that is 3,806 classes.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgear.datasets.benchmark import Benchmark
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

_TEXT_COLUMNS = {"narration_id": "uid", "participant_id": "participant_id", "video_id": "video_id"}
_TIME_COLUMNS = {"start_timestamp": "start_s", "stop_timestamp": "stop_s"}
_CLASS_COLUMNS = {"verb_class": "verb_id", "noun_class": "noun_id"}
_TIME_PATTERN = r"^(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)$"
_FIRST_ROW = 2


def load_epic100(annotations: Path, *, train_name: str = "EPIC_100_train.csv") -> Benchmark:
    """Read a folder of EPIC-KITCHENS-100 annotation files.

    Args:
        annotations: Folder with the official csv files.
        train_name: File of the training segments, for copies that name it otherwise.

    Returns:
        Training and validation segments with the unseen participants and the tail classes.

    Raises:
        AnnotationError: If a file or a column is missing, or a row is wrong; names file and row.

    Source:
        github.com/epic-kitchens/epic-kitchens-100-annotations, README: columns and subsets.
    """
    verbs = _class_names(annotations / "EPIC_100_verb_classes.csv")
    nouns = _class_names(annotations / "EPIC_100_noun_classes.csv")
    bounds = {"verb_id": len(verbs), "noun_id": len(nouns)}
    paths = {"train": annotations / train_name, "validation": annotations / "EPIC_100_validation.csv"}
    rows = {split: _segment_rows(path, bounds) for split, path in paths.items()}

    pairs = pl.concat([frame.select("verb_id", "noun_id") for frame in rows.values()]).unique().sort(pl.all())
    taxonomy = Taxonomy(verbs=verbs, nouns=nouns, action_pairs=tuple(pairs.iter_rows()))
    actions = pairs.with_row_index("action_id")
    tables = {
        split: SegmentTable(
            frame.join(actions, on=["verb_id", "noun_id"], how="left", maintain_order="left"),
            taxonomy,
            origin=str(paths[split]),
            first_row=_FIRST_ROW,
        )
        for split, frame in rows.items()
    }
    unseen = _read(annotations / "EPIC_100_unseen_participant_ids_validation.csv", ["participant_id"])
    return Benchmark(
        name="epic100",
        taxonomy=taxonomy,
        train=tables["train"],
        validation=tables["validation"],
        unseen_participants=frozenset(unseen["participant_id"].to_list()),
        tail_verb_ids=_tail_ids(annotations / "EPIC_100_tail_verbs.csv", "verb", len(verbs)),
        tail_noun_ids=_tail_ids(annotations / "EPIC_100_tail_nouns.csv", "noun", len(nouns)),
    )


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    """Read columns of a csv file as text."""
    if not path.is_file():
        raise AnnotationError(
            f"{path} is missing; expected a folder with the csv files of epic-kitchens-100-annotations. "
            "Check the path, or download them again."
        )
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except pl.exceptions.PolarsError as err:
        raise AnnotationError(f"{path} cannot be read as csv: {err}. Download it again.") from err
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AnnotationError(f"{path}: columns {missing} are missing; found {frame.columns}")
    return frame.select(columns)


def _refuse(path: Path, frame: pl.DataFrame, is_wrong: pl.Expr, column: str, expected: str) -> None:
    """Raise for the first row that is wrong; `column` holds its text."""
    bad = frame.with_row_index("row", offset=_FIRST_ROW).filter(is_wrong)
    if bad.height:
        row = bad.row(0, named=True)
        raise AnnotationError(
            f"{path}: row {row['row']}: {column} is {row[column]!r}, expected {expected}; {bad.height} such rows. "
            "Correct the file."
        )


def _class_names(path: Path) -> tuple[str, ...]:
    frame = _read(path, ["id", "key"])
    expected_id = pl.int_range(pl.len()).cast(pl.String)
    _refuse(path, frame, pl.col("id").ne_missing(expected_id), "id", "the ids 0, 1, 2, ... in order")
    _refuse(path, frame, pl.col("key").is_null(), "key", "a name")
    return tuple(frame["key"].to_list())


def _tail_ids(path: Path, column: str, num_classes: int) -> frozenset[int]:
    frame = _read(path, [column])
    ids = pl.col(column).cast(pl.Int64, strict=False)
    is_wrong = ~ids.is_between(0, num_classes - 1).fill_null(value=False)
    _refuse(path, frame, is_wrong, column, f"a class in 0..{num_classes - 1}")
    return frozenset(frame.select(ids)[column].to_list())


def _segment_rows(path: Path, bounds: dict[str, int]) -> pl.DataFrame:
    """Return the columns of a `SegmentTable` but the action ids."""
    frame = _read(path, [*_TEXT_COLUMNS, *_TIME_COLUMNS, *_CLASS_COLUMNS])
    for column in _TIME_COLUMNS:
        is_wrong = ~pl.col(column).str.contains(_TIME_PATTERN).fill_null(value=False)
        _refuse(path, frame, is_wrong, column, "a timestamp HH:MM:SS.ss")
    for column, name in _CLASS_COLUMNS.items():
        ids = pl.col(column).cast(pl.Int64, strict=False)
        is_wrong = ~ids.is_between(0, bounds[name] - 1).fill_null(value=False)
        _refuse(path, frame, is_wrong, column, f"a class in 0..{bounds[name] - 1}")
    return frame.select(
        *(pl.col(column).alias(name) for column, name in _TEXT_COLUMNS.items()),
        *(_seconds(frame, column).alias(name) for column, name in _TIME_COLUMNS.items()),
        *(pl.col(column).cast(pl.Int64).alias(name) for column, name in _CLASS_COLUMNS.items()),
    )


def _seconds(frame: pl.DataFrame, column: str) -> pl.Series:
    part = [pl.col(column).str.extract(_TIME_PATTERN, group).cast(pl.Float64) for group in (1, 2, 3)]
    milliseconds = frame.select(((part[0] * 3600 + part[1] * 60 + part[2]) * 1000).round())[column]
    # 00:01:01.60 shall be the float nearest to 61.6. NumPy divides exactly; polars multiplies by the rounded 1/1000.
    return pl.Series(milliseconds.to_numpy() / 1000)
