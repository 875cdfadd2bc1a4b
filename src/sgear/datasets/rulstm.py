"""The split files of RULSTM, on which most published anticipation numbers of three data sets stand.

They hold no names of verbs and nouns for themselves, only of actions. Where official annotations are at hand, their
loaders are the better choice: exact times, and every class has its name. Segments and action ids are the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.egtea import load_egtea_rulstm
from sgear.datasets.epic_files import class_ids
from sgear.datasets.rulstm_files import REMEDY, check_videos, read_actions, read_ids, read_segments
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Field, Taxonomy

RULSTM_NAMES = ("ek55", "ek100", "egtea")


def load_rulstm(folder: Path, *, name: str, split: int = 1) -> Benchmark:
    """Read a data folder of RULSTM.

    Args:
        folder: E.g. `RULSTM/data/ek100`.
        name: `ek55`, `ek100` or `egtea`.
        split: 1, 2 or 3 of `egtea`; the others have one split.

    Raises:
        AnnotationError: If a file is missing or wrong, or the files contradict one another.
        ValueError: If name or split is unknown.

    Source:
        github.com/fpv-iplab/rulstm, RULSTM/data.
    """
    if name not in RULSTM_NAMES:
        raise ValueError(f"RULSTM has the data sets {', '.join(RULSTM_NAMES)}, got {name!r}")
    if name == "egtea":
        return load_egtea_rulstm(folder, split=split)
    if split != 1:
        raise ValueError(f"{name} has one split, got split {split}")
    return _load_ek55(folder) if name == "ek55" else _load_ek100(folder)


def _load_ek55(folder: Path) -> Benchmark:
    pairs, names = read_actions(folder / "actions.csv")
    num_verbs, num_nouns = (max(ids) + 1 for ids in zip(*pairs, strict=True))
    # An action is named after one of its narrations ("get fish" for take + fish), so it does not name its verb.
    taxonomy = Taxonomy(
        verbs=tuple(f"verb {index}" for index in range(num_verbs)),
        nouns=tuple(f"noun {index}" for index in range(num_nouns)),
        action_pairs=pairs,
        action_names=tuple(name.replace("_", " ") for name in names),
    )
    many = {
        kind: class_ids(folder / f"EPIC_many_shot_{kind}s.csv", f"{kind}_class", num_classes=num_classes, remedy=REMEDY)
        for kind, num_classes in (("verb", num_verbs), ("noun", num_nouns))
    }
    return Benchmark(
        name="rulstm-ek55",
        taxonomy=taxonomy,
        train=_read_labelled(folder, "training", taxonomy),
        validation=_read_labelled(folder, "validation", taxonomy),
        many_shot_verb_ids=many["verb"],
        many_shot_noun_ids=many["noun"],
        tests={
            kind: read_segments(folder / f"test_{kind}.csv", taxonomy, has_labels=False) for kind in ("seen", "unseen")
        },
        headline="top5",
    )


def _load_ek100(folder: Path) -> Benchmark:
    path = folder / "actions.csv"
    pairs, names = read_actions(path)
    taxonomy = Taxonomy(
        verbs=_word_of_class("verb", [verb for verb, _ in pairs], [name.partition(" ")[0] for name in names], path),
        nouns=_word_of_class("noun", [noun for _, noun in pairs], [name.partition(" ")[2] for name in names], path),
        action_pairs=pairs,
        action_names=names,
    )
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
    check_videos(folder / f"{part}_videos.csv", segments)
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


def _word_of_class(kind: str, ids: list[int], words: list[str], path: Path) -> tuple[str, ...]:
    """Return the names of all classes up to the highest id; one without any action is called by its number."""
    names: dict[int, str] = {}
    for index, (class_id, word) in enumerate(zip(ids, words, strict=True)):
        if names.setdefault(class_id, word) != word or not word:
            raise AnnotationError(
                f"{path}: action {index} calls {kind} {class_id} {word!r}, an earlier one {names[class_id]!r}; "
                "expected 'verb noun'. Get the file again."
            )
    return tuple(names.get(class_id, f"{kind} {class_id}") for class_id in range(max(ids) + 1))


def _check_lists(benchmark: Benchmark, listed: dict[str, NDArray[np.bool_]], folder: Path) -> None:
    """Hold the lists of uids against the classes and participants that they imply."""
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
