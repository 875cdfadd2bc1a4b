"""EPIC-KITCHENS-55: official labels and times, split by videos as RULSTM does.

The public training labels have no validation part; RULSTM gives 40 of the 272 videos to one and numbers the 2,513
actions. Its lists hold every labelled segment (23,493 + 4,979 = 28,472): none is dropped. Times are the official ones.
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
    timed_rows,
    unlabelled_segments,
)
from sgear.datasets.rulstm_files import read_actions, read_ids
from sgear.datasets.text_table import read_csv
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

SOURCE = "github.com/epic-kitchens/epic-kitchens-55-annotations"
TEST_FILES = {"seen": "EPIC_test_s1_timestamps.csv", "unseen": "EPIC_test_s2_timestamps.csv"}
_REMEDY = f"Expected a folder with the files of {SOURCE}: check the path, or get them again."


def load_epic55(annotations: Path, rulstm: Path) -> Benchmark:
    """Read the official annotation files and RULSTM's split of them.

    Args:
        annotations: Folder with the official files.
        rulstm: RULSTM's folder `data/ek55` with `actions.csv`, `training_videos.csv` and `validation_videos.csv`.

    Returns:
        Training and validation segments, the test segments `seen` and `unseen` without labels, and the many-shot
        verbs and nouns. An action counts as many-shot if its verb *or* its noun does, as in RULSTM's evaluation; the
        official `EPIC_many_shot_actions.csv` asks for both and is not used.

    Raises:
        AnnotationError: If a file is missing or wrong, a video is in no part of the split, or the files contradict one
            another.

    Source:
        github.com/epic-kitchens/epic-kitchens-55-annotations, README; fpv-iplab/rulstm, RULSTM/data/ek55.
    """
    verbs, nouns = (
        class_names(
            annotations / f"EPIC_{kind}_classes.csv", id_column=f"{kind}_id", name_column="class_key", remedy=_REMEDY
        )
        for kind in ("verb", "noun")
    )
    pairs, _ = read_actions(rulstm / "actions.csv", num_verbs=len(verbs), num_nouns=len(nouns))
    taxonomy = Taxonomy(verbs=verbs, nouns=nouns, action_pairs=pairs)
    path = annotations / "EPIC_train_action_labels.csv"
    table = read_csv(path, ["uid", *TIME_COLUMNS, *CLASS_COLUMNS], remedy=_REMEDY)
    rows = pl.concat(
        [
            timed_rows(table, uid_column="uid", is_uid_number=True),
            classes(table, num_verbs=len(verbs), num_nouns=len(nouns)),
        ],
        how="horizontal",
    )
    segments = labelled_segments(
        rows, taxonomy, origin=str(path), lines=table.lines, actions_file=rulstm / "actions.csv"
    )
    train, validation = _split(segments, rulstm)
    return Benchmark(
        name="epic55",
        taxonomy=taxonomy,
        train=train,
        validation=validation,
        many_shot_verb_ids=_many_shot(annotations, "verb", len(verbs)),
        many_shot_noun_ids=_many_shot(annotations, "noun", len(nouns)),
        tests={kind: _test(annotations / name, taxonomy) for kind, name in TEST_FILES.items()},
        headline="top5",
    )


def _split(segments: SegmentTable, rulstm: Path) -> tuple[SegmentTable, SegmentTable]:
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


def _many_shot(annotations: Path, kind: str, num_classes: int) -> frozenset[int]:
    path = annotations / f"EPIC_many_shot_{kind}s.csv"
    return class_ids(path, f"{kind}_class", num_classes=num_classes, remedy=_REMEDY)


def _test(path: Path, taxonomy: Taxonomy) -> SegmentTable:
    table = read_csv(path, ["uid", *TIME_COLUMNS], remedy=_REMEDY)
    rows = timed_rows(table, uid_column="uid", is_uid_number=True)
    return unlabelled_segments(rows, taxonomy, origin=str(path), lines=table.lines)
