"""EGTEA Gaze+: three splits, from the official clip lists or from RULSTM's files.

Official clip names carry the times in milliseconds; their frame numbers (24 fps) are not used. An action with several
nouns counts under the first, as in RULSTM, which leaves 51 of the 53 nouns; both loaders give the same vocabulary.
The uids differ: the clip name here, RULSTM's number there.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic_files import labelled_segments
from sgear.datasets.rulstm_files import REMEDY, read_segments, refuse_gaps
from sgear.datasets.text_table import read_csv, read_text
from sgear.errors import AnnotationError
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

SPLITS = (1, 2, 3)
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

    Raises:
        AnnotationError: If a file is missing or a line is wrong or contradicts the lists of classes.
        ValueError: If the split is unknown.

    Source:
        EGTEA Gaze+, action_annotation_readme.md.
    """
    _check_split(split)
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
    return _benchmark("egtea", split, taxonomy, tables["train"], tables["test"])


def load_egtea_rulstm(folder: Path, *, split: int) -> Benchmark:
    """Read one split from RULSTM's files, whose times are frame numbers at 30 fps.

    Args:
        folder: RULSTM's folder `data/egtea`.
        split: 1, 2 or 3.

    Raises:
        AnnotationError: If a file is missing or wrong, or the files contradict one another.
        ValueError: If the split is unknown.

    Source:
        github.com/fpv-iplab/rulstm, RULSTM/data/egtea.
    """
    _check_split(split)
    taxonomy = _read_rulstm_actions(folder / "actions.csv")
    train, test = (read_segments(folder / f"{part}{split}.csv", taxonomy) for part in ("training", "validation"))
    return _benchmark("rulstm-egtea", split, taxonomy, train, test)


def _benchmark(name: str, split: int, taxonomy: Taxonomy, train: SegmentTable, test: SegmentTable) -> Benchmark:
    return Benchmark(
        name=f"{name}-split{split}",
        taxonomy=taxonomy,
        train=train,
        validation=test,
        headline="class_mean_top1",
        usual_tau_a_s=0.5,
    )


def _check_split(split: int) -> None:
    if split not in SPLITS:
        raise ValueError(f"EGTEA Gaze+ has splits {SPLITS}, got split {split}")


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """Return (line number, text) of each line that holds something."""
    lines = enumerate(read_text(path, remedy=_REMEDY).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _read_names(path: Path) -> list[str]:
    """Return the names of a list `<name> <id>` whose ids are 1, 2, 3, ... in order."""
    names = []
    for number, line in _read_lines(path):
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
    for number, line in _read_lines(path):
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
    return labelled_segments(frame, taxonomy, origin=str(path), lines=pl.Series(numbers, dtype=pl.Int64))


def _read_rulstm_actions(path: Path) -> Taxonomy:
    """Read lines `<id>, <verb>_<noun>, <verb name>_<noun name>` without a header.

    A name has `:` where the official one has `_`, because `_` stands between verb and noun.
    """
    table = read_csv(path, ["id", "pair", "name"], has_header=False, remedy=REMEDY)
    refuse_gaps(table, "id")
    table.refuse(~pl.col("pair").str.contains(r"^\d{1,6}_\d{1,6}$"), "pair", "<verb id>_<noun id>")
    table.refuse(~pl.col("name").str.contains(r"^[^_]+_[^_]+$"), "name", "<verb>_<noun>")
    pairs = [tuple(int(value) for value in pair.split("_")) for pair in table.frame["pair"]]
    words = [[word.replace(":", "_") for word in name.split("_")] for name in table.frame["name"]]
    names: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for line, pair, verb_and_noun in zip(table.lines, pairs, words, strict=True):
        for kind, class_id, word in zip(names, pair, verb_and_noun, strict=True):
            if kind.setdefault(class_id, word) != word:
                raise AnnotationError(
                    f"{path}, line {line}: class {class_id} is called {word!r} here and {kind[class_id]!r} before. "
                    "Get the file again."
                )
    for kind in names:
        if sorted(kind) != list(range(len(kind))):
            raise AnnotationError(f"{path}: the class ids {sorted(kind)} have gaps. Get the file again.")
    verbs, nouns = (tuple(kind[class_id] for class_id in sorted(kind)) for kind in names)
    return Taxonomy(verbs=verbs, nouns=nouns, action_pairs=tuple((pair[0], pair[1]) for pair in pairs))
