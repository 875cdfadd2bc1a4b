"""The split files of RULSTM, on which most published anticipation numbers of three data sets stand.

They hold no names of verbs and nouns for themselves, only of actions. Where official annotations are at hand, their
loaders are the better choice: exact times, and every class has its name. Segments and action ids are the same.

No file of segments has a header, and the columns of the action lists differ between the data sets. A frame number is
floor(30 t), where t is the official time, and 0 is written as 1; so frame / 30 is at most 1/30 s early, and late only
for segments that begin with the video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets import epic
from sgear.datasets.base import DatasetSpec, Places
from sgear.datasets.benchmark import Benchmark, TextRules
from sgear.datasets.csv_table import read_csv
from sgear.datasets.epic import (
    RULSTM_REMEDY,
    many_shot,
    read_actions,
    read_ids,
    refuse_gaps,
    to_segments,
)
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Field, Taxonomy

_FPS = 30.0
_TIMES = ("uid", "video", "start_frame", "stop_frame")
_LABELS = ("verb", "noun", "action")


def read_segments(path: Path, taxonomy: Taxonomy, *, has_labels: bool = True) -> SegmentTable:
    """Read a file of segments: uid, video, start and stop frame, and verb, noun and action where they are published.

    `00330` and `330` are the same uid `330`. The participant is the part of the video name before `_` or `-`.
    """
    table = read_csv(path, [*_TIMES, *(_LABELS if has_labels else ())], has_header=False, remedy=RULSTM_REMEDY)
    uids = table.text("uid").str.replace(r"^0+(\d+)$", "${1}")
    videos = table.text("video")
    table.refuse(~pl.col("video").str.contains(r"^[A-Z]+\d+[_-]"), "video", "a video such as P01_01 or P07-R01-Salad")
    rows = pl.DataFrame(
        {
            "uid": uids,
            "participant_id": videos.str.extract(r"^([A-Z]+\d+)"),
            "video_id": videos,
            "start_s": table.integers("start_frame").to_numpy() / _FPS,
            "stop_s": table.integers("stop_frame").to_numpy() / _FPS,
        }
    )
    if not has_labels:
        return to_segments(rows, taxonomy, origin=str(path), lines=table.lines)
    bounds = {"verb": taxonomy.verbs, "noun": taxonomy.nouns, "action": taxonomy.action_names}
    verbs, nouns, actions = (table.integers(name, high=len(names) - 1) for name, names in bounds.items())
    rows = rows.with_columns(verbs.alias("verb_id"), nouns.alias("noun_id"))
    segments = to_segments(rows, taxonomy, origin=str(path), lines=table.lines)
    is_wrong = segments.column("action_id") != actions.to_numpy()
    table.refuse(pl.lit(pl.Series(is_wrong)), "action", "the id of its verb with its noun in actions.csv")
    return segments


def load_rulstm_ek55(folder: Path) -> Benchmark:
    """Read RULSTM's folder `data/ek55`."""
    pairs, names = read_actions(folder / "actions.csv")
    num_verbs, num_nouns = (max(ids) + 1 for ids in zip(*pairs, strict=True))
    # An action is named after one of its narrations ("get fish" for take + fish), so it does not name its verb.
    taxonomy = Taxonomy(
        verbs=tuple(f"verb {index}" for index in range(num_verbs)),
        nouns=tuple(f"noun {index}" for index in range(num_nouns)),
        action_pairs=pairs,
        action_names=tuple(name.replace("_", " ") for name in names),
    )
    many_verbs, many_nouns = many_shot(folder, num_verbs, num_nouns, remedy=RULSTM_REMEDY)
    return Benchmark(
        name="rulstm-ek55",
        taxonomy=taxonomy,
        train=_read_labelled(folder, "training", taxonomy),
        validation=_read_labelled(folder, "validation", taxonomy),
        many_shot_verb_ids=many_verbs,
        many_shot_noun_ids=many_nouns,
        tests={
            kind: read_segments(folder / f"test_{kind}.csv", taxonomy, has_labels=False) for kind in ("seen", "unseen")
        },
    )


def load_rulstm_ek100(folder: Path) -> Benchmark:
    """Read RULSTM's folder `data/ek100`."""
    path = folder / "actions.csv"
    pairs, names = read_actions(path)
    words = [name.partition(" ")[::2] for name in names]
    classes = [
        _word_of_class(kind, path, [(pair[side], word[side]) for pair, word in zip(pairs, words, strict=True)])
        for side, kind in enumerate(("verb", "noun"))
    ]
    taxonomy = Taxonomy(verbs=classes[0], nouns=classes[1], action_pairs=pairs, action_names=names)
    validation = _read_labelled(folder, "validation", taxonomy)
    listed = {
        kind: _read_mask(folder / f"validation_{kind}_ids.csv", validation)
        for kind in ("unseen_participants", "tail_verbs", "tail_nouns", "tail_actions")
    }
    unseen = validation.column("participant_id")[listed["unseen_participants"]]
    benchmark = Benchmark(
        name="rulstm-ek100",
        taxonomy=taxonomy,
        train=_read_labelled(folder, "training", taxonomy),
        validation=validation,
        unseen_participants=frozenset(unseen.tolist()),
        tail_verb_ids=frozenset(validation.column("verb_id")[listed["tail_verbs"]].tolist()),
        tail_noun_ids=frozenset(validation.column("noun_id")[listed["tail_nouns"]].tolist()),
        tests={"test": read_segments(folder / "test_timestamps.csv", taxonomy, has_labels=False)},
    )
    _check_lists(benchmark, listed, folder)
    return benchmark


def _read_labelled(folder: Path, part: str, taxonomy: Taxonomy) -> SegmentTable:
    segments = read_segments(folder / f"{part}.csv", taxonomy)
    listed = folder / f"{part}_videos.csv"
    strange = sorted(set(segments.video_ids) - set(read_ids(listed)))
    if strange:
        raise AnnotationError(
            f"{segments.origin}: video {strange[0]} is not in {listed.name}; {len(strange)} such videos. "
            "Take both files from the same release."
        )
    return segments


def _read_mask(path: Path, validation: SegmentTable) -> NDArray[np.bool_]:
    """Return which validation segments a file of uids lists, [M]."""
    uids, listed = validation.uids, read_ids(path)
    strange = sorted(set(listed) - set(uids))
    if strange:
        raise AnnotationError(
            f"{path}: uid {strange[0]!r} is not in validation.csv; {len(strange)} such uids. Get the files again."
        )
    return np.isin(uids, listed)


def _word_of_class(kind: str, path: Path, words: list[tuple[int, str]]) -> tuple[str, ...]:
    """Return the names of all classes up to the highest id; one without any action is called by its number.

    Args:
        kind: Verb or noun.
        path: The list of actions, for messages.
        words: Class and its word in the name of each action.
    """
    names: dict[int, str] = {}
    for index, (class_id, word) in enumerate(words):
        if names.setdefault(class_id, word) != word or not word:
            raise AnnotationError(
                f"{path}: action {index} calls {kind} {class_id} {word!r}, an earlier one {names[class_id]!r}; "
                "expected a verb and a noun, alike for each class. Get the file again."
            )
    return tuple(names.get(class_id, f"{kind} {class_id}") for class_id in range(max(names) + 1))


def _check_lists(benchmark: Benchmark, listed: dict[str, NDArray[np.bool_]], folder: Path) -> None:
    """Check the lists of uids against the classes and participants that they imply."""
    masks = benchmark.subset_masks
    implied: tuple[tuple[str, str, Field], ...] = (
        ("unseen_participants", "unseen", "action"),
        ("tail_verbs", "tail", "verb"),
        ("tail_nouns", "tail", "noun"),
        ("tail_actions", "tail", "action"),
    )
    for kind, subset, field in implied:
        expected = masks[subset][field] if subset in masks else np.zeros(len(benchmark.validation), dtype=bool)
        wrong = np.flatnonzero(listed[kind] != expected)
        if len(wrong):
            raise AnnotationError(
                f"{folder / f'validation_{kind}_ids.csv'}: {len(wrong)} uids, the first "
                f"{benchmark.validation.uids[wrong[0]]!r}, are missing or too many beside others of their class or "
                "participant. Get the file again."
            )


def load_rulstm_egtea(folder: Path, *, split: int) -> Benchmark:
    """Read one split from RULSTM's files, whose times are frame numbers at 30 fps.

    Args:
        folder: RULSTM's folder `data/egtea`.
        split: 1, 2 or 3.

    Source:
        github.com/fpv-iplab/rulstm, RULSTM/data/egtea.
    """
    taxonomy = _read_egtea_actions(folder / "actions.csv")
    train, test = (read_segments(folder / f"{part}{split}.csv", taxonomy) for part in ("training", "validation"))
    return Benchmark(name=f"rulstm-egtea-split{split}", taxonomy=taxonomy, train=train, validation=test)


def _read_egtea_actions(path: Path) -> Taxonomy:
    """Read lines `<id>, <verb>_<noun>, <verb name>_<noun name>` without a header.

    A name has `:` where the official one has `_`, because `_` stands between verb and noun.
    """
    table = read_csv(path, ["id", "pair", "name"], has_header=False, remedy=RULSTM_REMEDY)
    refuse_gaps(table, "id")
    table.refuse(~pl.col("pair").str.contains(r"^\d{1,6}_\d{1,6}$"), "pair", "<verb id>_<noun id>")
    table.refuse(~pl.col("name").str.contains(r"^[^_]+_[^_]+$"), "name", "<verb>_<noun>")
    rows = [(pair.split("_"), name.split("_")) for pair, name in table.frame.select("pair", "name").iter_rows()]
    pairs = tuple((int(verb), int(noun)) for (verb, noun), _ in rows)
    verbs, nouns = (
        _word_of_class(kind, path, [(int(ids[side]), words[side].replace(":", "_")) for ids, words in rows])
        for side, kind in enumerate(("verb", "noun"))
    )
    for ids, names in zip(zip(*pairs, strict=True), (verbs, nouns), strict=True):
        if len(set(ids)) < len(names):
            raise AnnotationError(f"{path}: the class ids {sorted(set(ids))} have gaps. Get the file again.")
    return Taxonomy(verbs=verbs, nouns=nouns, action_pairs=pairs)


def _places(name: str, videos: tuple[str, ...], features: tuple[str, ...]) -> Places:
    return Places(
        annotations=(f"rulstm/{name}", f"{epic.RULSTM_FOLDER}/{name}"),
        holds="actions.csv",
        inner=(name,),
        source=epic.RULSTM_SOURCE,
        videos=videos,
        features=features,
    )


DATASETS = (
    epic.spec(
        name="rulstm-ek55",
        load=lambda folder, split, level: load_rulstm_ek55(folder),
        places=_places("ek55", epic.VIDEOS_55, epic.FEATURES_55),
        headline="top5",
        lengths_from=("epic55", "epic100"),
    ),
    epic.spec(
        name="rulstm-ek100",
        load=lambda folder, split, level: load_rulstm_ek100(folder),
        places=_places("ek100", epic.VIDEOS_100, epic.FEATURES_100),
        headline="recall5",
        lengths_from=("epic100",),
    ),
    DatasetSpec(
        name="rulstm-egtea",
        load=lambda folder, split, level: load_rulstm_egtea(folder, split=split),
        places=_places("egtea", ("videos/EGTEA/101020/videos",), ()),
        corpus="egtea",
        # EGTEA cuts its videos into clips of different splits.
        whole_videos=False,
        text_rules=TextRules(),
        headline="class_mean_top1",
        usual_tau_a_s=0.5,
        num_splits=3,
    ),
)
