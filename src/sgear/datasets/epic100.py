"""EPIC-KITCHENS-100: the official annotation files as a `Benchmark`.

Names are the `key` column of the class files, unchanged (`tap:hot` stays `tap:hot`). The actions are all
(verb, noun) pairs of training and validation together, in the published order; on the official files that gives the
3,806 ids that other repositories use. A csv file is preferred to the pickle of the same table.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic_files import (
    CLASS_COLUMNS,
    TIME_COLUMNS,
    class_ids,
    class_names,
    classes,
    labelled_segments,
    published_order,
    timed_rows,
    unlabelled_segments,
)
from sgear.datasets.frame_pickle import read_epic_pickle
from sgear.datasets.text_table import TextTable, read_csv
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TRAIN_NAME = "EPIC_100_train.csv"
REBUILT_NAME = "EPIC_100_train_rebuilt.csv"
SOURCE = "github.com/epic-kitchens/epic-kitchens-100-annotations"
_REMEDY = f"Expected a folder with the files of {SOURCE}: check the path, or get them again."
_UID = "narration_id"


def load_epic100(annotations: Path, *, train_name: str = TRAIN_NAME) -> Benchmark:
    """Read a folder of EPIC-KITCHENS-100 annotation files.

    Args:
        annotations: Folder with the official files.
        train_name: File of the training segments. Where the official csv is missing, a rebuilt copy named
            `EPIC_100_train_rebuilt.csv` is taken and said so in `train.origin`, then the pickle.

    Returns:
        Training and validation segments with the unseen participants and the tail classes; the test segments,
        without labels, where their file is there.

    Raises:
        AnnotationError: If a file or a column is missing, or a row is wrong; names file and line.

    Source:
        github.com/epic-kitchens/epic-kitchens-100-annotations, README: columns and subsets.
    """
    verbs = _class_names(annotations, "verb")
    nouns = _class_names(annotations, "noun")
    paths = {
        "train": _find(annotations, train_name, *([REBUILT_NAME] if train_name == TRAIN_NAME else [])),
        "validation": _find(annotations, "EPIC_100_validation.csv"),
    }
    tables = {split: _read(path, (*TIME_COLUMNS, *CLASS_COLUMNS)) for split, path in paths.items()}
    labels = {split: classes(table, num_verbs=len(verbs), num_nouns=len(nouns)) for split, table in tables.items()}
    pairs = published_order(set(pl.concat(labels.values()).iter_rows()))
    taxonomy = Taxonomy(verbs=verbs, nouns=nouns, action_pairs=pairs)
    segments = {
        split: labelled_segments(
            pl.concat([timed_rows(table, uid_column=_UID, is_uid_number=False), labels[split]], how="horizontal"),
            taxonomy,
            origin=_origin(table.path),
            lines=table.lines,
        )
        for split, table in tables.items()
    }
    unseen = read_csv(
        annotations / "EPIC_100_unseen_participant_ids_validation.csv", ["participant_id"], remedy=_REMEDY
    )
    return Benchmark(
        name="epic100",
        taxonomy=taxonomy,
        train=segments["train"],
        validation=segments["validation"],
        unseen_participants=frozenset(unseen.text("participant_id").to_list()),
        tail_verb_ids=_tail_ids(annotations, "verb", len(verbs)),
        tail_noun_ids=_tail_ids(annotations, "noun", len(nouns)),
        tests=_tests(annotations, taxonomy),
    )


def _find(annotations: Path, *names: str) -> Path:
    """Return the first file that exists: the names in their order, then the pickle of the first name."""
    paths = [annotations / name for name in names]
    candidates = [*paths, paths[0].with_suffix(".pkl")]
    return next((path for path in candidates if path.is_file()), paths[0])


def _read(path: Path, columns: tuple[str, ...]) -> TextTable:
    if path.suffix == ".pkl":
        return read_epic_pickle(path, (_UID, *columns))
    return read_csv(path, (_UID, *columns), remedy=_REMEDY)


def _origin(path: Path) -> str:
    return f"{path} (rebuilt, not official)" if path.name == REBUILT_NAME else str(path)


def _class_names(annotations: Path, kind: str) -> tuple[str, ...]:
    path = annotations / f"EPIC_100_{kind}_classes.csv"
    return class_names(path, id_column="id", name_column="key", remedy=_REMEDY)


def _tail_ids(annotations: Path, kind: str, num_classes: int) -> frozenset[int]:
    path = annotations / f"EPIC_100_tail_{kind}s.csv"
    return class_ids(path, kind, num_classes=num_classes, remedy=_REMEDY)


def _tests(annotations: Path, taxonomy: Taxonomy) -> dict[str, SegmentTable]:
    path = _find(annotations, "EPIC_100_test_timestamps.csv")
    if not path.exists():
        return {}
    table = _read(path, TIME_COLUMNS)
    rows = timed_rows(table, uid_column=_UID, is_uid_number=False)
    return {"test": unlabelled_segments(rows, taxonomy, origin=str(path), lines=table.lines)}
