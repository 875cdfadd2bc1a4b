"""EGTEA Gaze+: three splits, from the official clip lists.

Official clip names carry the times in milliseconds; their frame numbers (24 fps) are not used. An action with several
nouns counts under the first, as in RULSTM, which leaves 51 of the 53 nouns; and the loader of its files gives the
same vocabulary. The uids differ: the clip name here, RULSTM's number there.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from sgear.datasets.base import DatasetSpec, Places
from sgear.datasets.benchmark import Benchmark, TextRules
from sgear.datasets.csv_table import read_lines
from sgear.datasets.epic import to_segments
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

_REMEDY = "Expected the folder action_annotation of EGTEA Gaze+: check the path, or get it again."
_CLIP = re.compile(
    r"(?P<video>(?P<person>[A-Z]+[0-9]+)-[\w-]+)-(?P<start>[0-9]{1,12})-(?P<stop>[0-9]{1,12})-F[0-9]+-F[0-9]+"
)
_LABELS = re.compile(r"[0-9]{1,6} [0-9]{1,6} [0-9]{1,6}( [0-9]{1,6})*")


def load_egtea(folder: Path, *, split: int) -> Benchmark:
    """Read one official split: its test clips are the validation segments.

    Args:
        folder: The folder `action_annotation`, with `action_idx.txt` and `train_split1.txt`.
        split: 1, 2 or 3.

    Source:
        EGTEA Gaze+, action_annotation_readme.md.
    """
    verbs = _read_names(folder / "verb_idx.txt")
    nouns = _read_names(folder / "noun_idx.txt")
    actions = _read_actions(folder / "action_idx.txt", verbs, nouns)
    # RULSTM numbers nouns as the list of actions brings them up.
    first_nouns = list(dict.fromkeys(noun for _, noun in actions))
    taxonomy = Taxonomy(
        verbs=tuple(verbs),
        nouns=tuple(nouns[noun] for noun in first_nouns),
        action_pairs=tuple((verb, first_nouns.index(noun)) for verb, noun in actions),
    )
    tables = {part: _read_clips(folder / f"{part}_split{split}.txt", actions, taxonomy) for part in ("train", "test")}
    return Benchmark(name=f"egtea-split{split}", taxonomy=taxonomy, train=tables["train"], validation=tables["test"])


def _read_names(path: Path) -> list[str]:
    """Return the names of a list `<name> <id>` whose ids are 1, 2, 3, ... in order."""
    names = []
    for number, line in read_lines(path, remedy=_REMEDY):
        name, _, written_id = line.rpartition(" ")
        if not name or written_id != str(len(names) + 1):
            raise AnnotationError(f"{path}, line {number}: {line!r}, expected a name and the id {len(names) + 1}.")
        names.append(name)
    return names


def _read_actions(path: Path, verbs: list[str], nouns: list[str]) -> list[tuple[int, int]]:
    """Return (verb, first noun) of each action, as positions in the lists."""
    actions = []
    for index, name in enumerate(_read_names(path)):
        verb, _, all_nouns = name.rpartition(" ")
        noun = all_nouns.partition(",")[0]
        if verb not in verbs or noun not in nouns:
            raise AnnotationError(
                f"{path}: action {index + 1} is {name!r}, expected a verb of verb_idx.txt and nouns of noun_idx.txt. "
                "Take the three files from the same release."
            )
        actions.append((verbs.index(verb), nouns.index(noun)))
    return actions


def _read_clips(path: Path, actions: list[tuple[int, int]], taxonomy: Taxonomy) -> SegmentTable:
    """Read lines `<clip> <action> <verb> <noun> ...`, ids from 1; further nouns are not used."""
    rows, numbers = [], []
    for number, line in read_lines(path, remedy=_REMEDY):
        name, _, text = line.partition(" ")
        clip = _CLIP.fullmatch(name)
        if clip is None or not _LABELS.fullmatch(text):
            raise AnnotationError(
                f"{path}, line {number}: {line!r}, expected <video>-<start ms>-<stop ms>-F<frame>-F<frame> and the ids "
                "of action, verb and nouns. Get the file again."
            )
        action, verb, noun = (int(value) - 1 for value in text.split()[:3])
        if not 0 <= action < len(actions) or actions[action] != (verb, noun):
            raise AnnotationError(
                f"{path}, line {number}: action {action + 1} with verb {verb + 1} and noun {noun + 1} is not in "
                "action_idx.txt. Take both files from the same release."
            )
        verb_id, noun_id = taxonomy.action_pairs[action]
        times_s = (int(clip["start"]) / 1000, int(clip["stop"]) / 1000)
        rows.append((name, clip["person"], clip["video"], *times_s, verb_id, noun_id))
        numbers.append(number)
    columns = ("uid", "participant_id", "video_id", "start_s", "stop_s", "verb_id", "noun_id")
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    return to_segments(frame, taxonomy, origin=str(path), lines=pl.Series(numbers, dtype=pl.Int64))


DATASET = DatasetSpec(
    name="egtea",
    load=lambda folder, split, level: load_egtea(folder, split=split),
    places=Places(
        annotations=("egtea/action_annotation", "egtea"),
        holds="action_idx.txt",
        inner=("action_annotation", "annotations"),
        source="cbs.ic.gatech.edu/fpv, action annotations of EGTEA Gaze+",
        videos=("videos/EGTEA/101020/videos",),
    ),
    corpus="egtea",
    # It cuts its videos into clips of different splits.
    whole_videos=False,
    text_rules=TextRules(),
    headline="class_mean_top1",
    usual_tau_a_s=0.5,
    num_splits=3,
)
