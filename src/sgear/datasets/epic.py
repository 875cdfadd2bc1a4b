"""EPIC-KITCHENS-100 and -55: the official annotation files as a `Benchmark`.

Times come from the timestamps alone: the frame numbers beside them count at the frame rate of each camera.

EPIC-KITCHENS-100: names are the `key` column of the class files, unchanged (`tap:hot` stays `tap:hot`). The actions are
all (verb, noun) pairs of training and validation together, in the published order; on the official files that gives the
3,806 ids that other repositories use.

EPIC-KITCHENS-55: the public training labels have no validation part; RULSTM gives 40 of the 272 videos to one and
numbers the 2,513 actions. Its lists hold every labelled segment (23,493 + 4,979 = 28,472): none is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from sgear.datasets.base import DatasetSpec, Places, data_folder, first_folder
from sgear.datasets.benchmark import Benchmark, TextRules
from sgear.datasets.csv_table import TextTable, read_csv
from sgear.errors import AnnotationError
from sgear.segments import UNKNOWN_ACTION, SegmentTable
from sgear.taxonomy import Taxonomy

CORPUS = "epic-kitchens"
SOURCE_100 = "github.com/epic-kitchens/epic-kitchens-100-annotations"
SOURCE_55 = "github.com/epic-kitchens/epic-kitchens-55-annotations"
RULSTM_REMEDY = "Expected a data folder of github.com/fpv-iplab/rulstm: check the path, or get it again."
RULSTM_SOURCE = "github.com/fpv-iplab/rulstm, folder RULSTM/data"
# Where the original README has the repository of RULSTM.
RULSTM_FOLDER = "external/rulstm/RULSTM/data"
VIDEOS_55 = ("videos/EpicKitchens/videos_ht256px/train", "videos/EpicKitchens/videos_ht256px/test")
VIDEOS_100 = (*VIDEOS_55, "videos/EpicKitchens100/videos_extension_ht256px")
FEATURES_55 = ("external/rulstm/RULSTM/data_full", "extracted_features/ek55")
FEATURES_100 = ("external/rulstm/RULSTM/ek100_data_full", "extracted_features/ek100")
_TRAIN, _REBUILT = "EPIC_100_train.csv", "EPIC_100_train_rebuilt.csv"
_REMEDY_100, _REMEDY_55 = (
    f"Expected a folder with the files of {source}: check the path, or get them again."
    for source in (SOURCE_100, SOURCE_55)
)
_TIME_COLUMNS = ("participant_id", "video_id", "start_timestamp", "stop_timestamp")


def published_order(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort (verb id, noun id) pairs so that their positions are the published action ids.

    The published ids follow the text `<verb id>_<noun id>`, so verb 10 comes before verb 1: 0_0, 0_1, 0_10, 0_100.

    Source:
        fpv-iplab/rulstm, data/ek55/actions.csv and data/ek100/actions.csv; used by AVT and S-GEAR as well.
    """
    return tuple(sorted(pairs, key=lambda pair: f"{pair[0]}_{pair[1]}"))


def class_names(path: Path, id_column: str, name_column: str, *, remedy: str) -> tuple[str, ...]:
    """Return the names of a class file, whose ids must be 0, 1, 2, ... in order."""
    table = read_csv(path, [id_column, name_column], remedy=remedy)
    refuse_gaps(table, id_column)
    return tuple(table.text(name_column).to_list())


def class_ids(path: Path, column: str, *, num_classes: int, remedy: str) -> frozenset[int]:
    """Return the ids of a list of classes, all below `num_classes`."""
    return frozenset(read_csv(path, [column], remedy=remedy).integers(column, high=num_classes - 1).to_list())


def many_shot(folder: Path, num_verbs: int, num_nouns: int, *, remedy: str) -> list[frozenset[int]]:
    """Return the many-shot verbs and nouns of EPIC-KITCHENS-55."""
    return [
        class_ids(folder / f"EPIC_many_shot_{kind}s.csv", f"{kind}_class", num_classes=num_classes, remedy=remedy)
        for kind, num_classes in (("verb", num_verbs), ("noun", num_nouns))
    ]


def read_ids(path: Path) -> list[str]:
    """Return the values of a file with one value per line: videos, or uids, each once."""
    table = read_csv(path, ["id"], has_header=False, remedy=RULSTM_REMEDY)
    table.refuse(pl.col("id").is_duplicated(), "id", "each value once")
    return table.text("id").to_list()


def read_actions(
    path: Path, *, num_verbs: int | None = None, num_nouns: int | None = None
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return (verb id, noun id) and name of each action of an EPIC-KITCHENS list; columns in any order.

    Ids must be 0, 1, 2, ... in order. Without numbers of verbs and nouns there are as many as the list needs.
    """
    table = read_csv(path, ["id", "verb", "noun", "action"], remedy=RULSTM_REMEDY)
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


def to_segments(
    rows: pl.DataFrame, taxonomy: Taxonomy, *, origin: str, lines: pl.Series, actions_file: Path | None = None
) -> SegmentTable:
    """Return rows as segments with action ids; without verb and noun ids, as a test split whose labels are unpublished.

    Args:
        rows: Columns of a `SegmentTable`, without `action_id`.
        taxonomy: Holds the action classes.
        origin: See `SegmentTable`.
        lines: See `SegmentTable`.
        actions_file: Where the action classes come from, for the message.
    """
    if "verb_id" not in rows.columns:
        unknown = [pl.lit(UNKNOWN_ACTION).alias(f"{name}_id") for name in ("verb", "noun", "action")]
        return SegmentTable(rows.with_columns(unknown), taxonomy, origin=origin, lines=lines)
    action_of_pair = np.full((len(taxonomy.verbs), len(taxonomy.nouns)), UNKNOWN_ACTION)
    action_of_pair[taxonomy.verb_of_action, taxonomy.noun_of_action] = np.arange(taxonomy.num_actions)
    actions = action_of_pair[rows["verb_id"].to_numpy(), rows["noun_id"].to_numpy()]
    strange = np.flatnonzero(actions == UNKNOWN_ACTION)
    if len(strange):
        first = int(strange[0])
        raise AnnotationError(
            f"{origin}, line {lines[first]}: verb {rows['verb_id'][first]} with noun {rows['noun_id'][first]} is no "
            f"action class{f' of {actions_file}' if actions_file else ''}; {len(strange)} such rows. "
            "Take both files from the same release."
        )
    return SegmentTable(rows.with_columns(pl.Series("action_id", actions)), taxonomy, origin=origin, lines=lines)


def _read_rows(
    path: Path, uid_column: str, *, remedy: str, classes: tuple[tuple[str, ...], ...] = ()
) -> tuple[pl.DataFrame, pl.Series]:
    """Return uid, participant, video, times, and with the names of verbs and nouns their ids; and the line of each row.

    Uids of a column `uid` are whole numbers: `007` and `7` are the same uid `7`.
    """
    class_columns = ("verb_class", "noun_class") if classes else ()
    table = read_csv(path, [uid_column, *_TIME_COLUMNS, *class_columns], remedy=remedy)
    columns = {
        "uid": table.integers("uid").cast(pl.String) if uid_column == "uid" else table.text(uid_column),
        "participant_id": table.text("participant_id"),
        "video_id": table.text("video_id"),
        "start_s": table.timestamps("start_timestamp"),
        "stop_s": table.timestamps("stop_timestamp"),
    }
    for column, names in zip(class_columns, classes, strict=True):
        columns[column.replace("class", "id")] = table.integers(column, high=len(names) - 1)
    return pl.DataFrame(columns), table.lines


def load_epic100(annotations: Path, *, train_name: str = _TRAIN) -> Benchmark:
    """Read a folder of EPIC-KITCHENS-100 annotation files.

    Args:
        annotations: Folder with the official files.
        train_name: File of the training segments. Where the official csv is missing, a rebuilt copy named
            `EPIC_100_train_rebuilt.csv` is taken and said so in `train.origin`.

    Returns:
        Training and validation segments with the unseen participants and the tail classes; the test segments,
        without labels, where their file is there.

    Source:
        github.com/epic-kitchens/epic-kitchens-100-annotations, README: columns and subsets.
    """
    classes = tuple(
        class_names(annotations / f"EPIC_100_{kind}_classes.csv", "id", "key", remedy=_REMEDY_100)
        for kind in ("verb", "noun")
    )
    paths = {"train": annotations / train_name, "validation": annotations / "EPIC_100_validation.csv"}
    if train_name == _TRAIN and not paths["train"].is_file() and (annotations / _REBUILT).is_file():
        paths["train"] = annotations / _REBUILT
    tables = {}
    for split, path in paths.items():
        if not path.exists() and (pickled := path.with_suffix(".pkl")).exists():
            raise AnnotationError(
                f"{path}: no such file. {pickled.name} is there, but pickles are never opened, since they run code; "
                f"the csv of the same table stands beside it in {SOURCE_100}"
            )
        tables[split] = _read_rows(path, "narration_id", classes=classes, remedy=_REMEDY_100)
    pairs = pl.concat([rows.select("verb_id", "noun_id") for rows, _ in tables.values()])
    taxonomy = Taxonomy(verbs=classes[0], nouns=classes[1], action_pairs=published_order(set(pairs.iter_rows())))
    segments = {
        split: to_segments(
            rows,
            taxonomy,
            origin=f"{paths[split]}{' (rebuilt, not official)' if paths[split].name == _REBUILT else ''}",
            lines=lines,
        )
        for split, (rows, lines) in tables.items()
    }
    unseen = read_csv(
        annotations / "EPIC_100_unseen_participant_ids_validation.csv", ["participant_id"], remedy=_REMEDY_100
    )
    tail_verbs, tail_nouns = (
        class_ids(annotations / f"EPIC_100_tail_{kind}s.csv", kind, num_classes=len(names), remedy=_REMEDY_100)
        for kind, names in zip(("verb", "noun"), classes, strict=True)
    )
    tests = {}
    test = annotations / "EPIC_100_test_timestamps.csv"
    if test.exists():
        rows, lines = _read_rows(test, "narration_id", remedy=_REMEDY_100)
        tests["test"] = to_segments(rows, taxonomy, origin=str(test), lines=lines)
    return Benchmark(
        name="epic100",
        taxonomy=taxonomy,
        train=segments["train"],
        validation=segments["validation"],
        unseen_participants=frozenset(unseen.text("participant_id").to_list()),
        tail_verb_ids=tail_verbs,
        tail_noun_ids=tail_nouns,
        tests=tests,
    )


def load_epic55(annotations: Path, rulstm: Path) -> Benchmark:
    """Read the official annotation files and RULSTM's split of them.

    Args:
        annotations: Folder with the official files.
        rulstm: RULSTM's folder `data/ek55` with `actions.csv`, `training_videos.csv` and `validation_videos.csv`.

    Returns:
        Training and validation segments, the test segments `seen` and `unseen` without labels, and the many-shot
        verbs and nouns. An action counts as many-shot if its verb *or* its noun does, as in RULSTM's evaluation; the
        official `EPIC_many_shot_actions.csv` asks for both and is not used.

    Source:
        github.com/epic-kitchens/epic-kitchens-55-annotations, README; fpv-iplab/rulstm, RULSTM/data/ek55.
    """
    verbs, nouns = (
        class_names(annotations / f"EPIC_{kind}_classes.csv", f"{kind}_id", "class_key", remedy=_REMEDY_55)
        for kind in ("verb", "noun")
    )
    actions = rulstm / "actions.csv"
    pairs, _ = read_actions(actions, num_verbs=len(verbs), num_nouns=len(nouns))
    taxonomy = Taxonomy(verbs=verbs, nouns=nouns, action_pairs=pairs)
    path = annotations / "EPIC_train_action_labels.csv"
    rows, lines = _read_rows(path, "uid", classes=(verbs, nouns), remedy=_REMEDY_55)
    train, validation = _split_55(
        to_segments(rows, taxonomy, origin=str(path), lines=lines, actions_file=actions), rulstm
    )
    many_verbs, many_nouns = many_shot(annotations, len(verbs), len(nouns), remedy=_REMEDY_55)
    tests = {}
    for kind, part in (("seen", "s1"), ("unseen", "s2")):
        path = annotations / f"EPIC_test_{part}_timestamps.csv"
        rows, lines = _read_rows(path, "uid", remedy=_REMEDY_55)
        tests[kind] = to_segments(rows, taxonomy, origin=str(path), lines=lines)
    return Benchmark(
        name="epic55",
        taxonomy=taxonomy,
        train=train,
        validation=validation,
        many_shot_verb_ids=many_verbs,
        many_shot_noun_ids=many_nouns,
        tests=tests,
    )


def _split_55(segments: SegmentTable, rulstm: Path) -> tuple[SegmentTable, SegmentTable]:
    """Return the segments of the training and of the validation videos; every segment is in one of them."""
    listed = {part: read_ids(rulstm / f"{part}_videos.csv") for part in ("training", "validation")}
    both = set(listed["training"]) & set(listed["validation"])
    if both:
        raise AnnotationError(f"{rulstm}: video {min(both)} is in both parts of the split. Get the files again.")
    neither = set(segments.video_ids) - set(listed["training"]) - set(listed["validation"])
    if neither:
        raise AnnotationError(
            f"{segments.origin}: video {min(neither)} is in no part of the split in {rulstm}; {len(neither)} such "
            "videos. Take the files of EPIC-KITCHENS-55, not those of another release."
        )
    in_train = pl.col("video_id").is_in(listed["training"])
    return segments.filter(in_train), segments.filter(~in_train)


def _find_split_55(annotations: Path) -> Path:
    """Return the folder of RULSTM's split: beside the annotations, or under SGEAR_DATA."""
    beside = (
        annotations,
        annotations / "rulstm",
        annotations.parent / "rulstm",
        annotations.parent / "rulstm" / "ek55",
    )
    under = [data_folder() / folder for folder in ("epic55/rulstm", "rulstm/ek55", f"{RULSTM_FOLDER}/ek55")]
    remedy = "put its folder data/ek55 into one of these places"
    what = "the split of epic55"
    return first_folder([*beside, *under], "training_videos.csv", what=what, source=RULSTM_SOURCE, remedy=remedy)


def numbering_fps(video_id: str) -> float | None:
    """Return the images per second by which those of a published video were numbered.

    Source:
        The frame numbers of the annotations are 60 times (P01_01) or 50 times (P01_101) the timestamps, whatever the
        rate of the camera; github.com/epic-kitchens/C2-Action-Detection, issue 8, says why.
    """
    match = re.fullmatch(r"P[0-9]{2}_[0-9]{2}([0-9])?", video_id)
    return None if match is None else 60.0 if match[1] is None else 50.0


spec = partial(
    DatasetSpec, corpus=CORPUS, whole_videos=True, text_rules=TextRules(head_first=True), numbering_fps=numbering_fps
)
"""What all data sets of these kitchens have in common."""
DATASETS = (
    spec(
        name="epic100",
        load=lambda folder, split, level: load_epic100(folder),
        places=Places(
            annotations=("epic100/annotations", "epic-kitchens-100-annotations"),
            holds="EPIC_100_verb_classes.csv",
            inner=("annotations",),
            source=SOURCE_100,
            videos=VIDEOS_100,
            features=FEATURES_100,
        ),
        headline="recall5",
    ),
    spec(
        name="epic55",
        load=lambda folder, split, level: load_epic55(folder, _find_split_55(folder)),
        places=Places(
            annotations=("epic55/annotations", "epic-kitchens-55-annotations"),
            holds="EPIC_verb_classes.csv",
            inner=("annotations",),
            source=SOURCE_55,
            videos=VIDEOS_55,
            features=FEATURES_55,
        ),
        headline="top5",
    ),
)
