"""Annotations in the formats of others: what a file is, and how a csv is made of it or which data set reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sgear.errors import AnnotationError

_EPIC = {"video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class"}
_OTHER_NAMES = {
    "video": ("video_id", "video_uid", "video_name", "clip_uid", "filename", "file"),
    "start": ("start_timestamp", "start_sec", "start_s", "start_time", "begin", "t_start"),
    "stop": ("stop_timestamp", "end_timestamp", "end_sec", "stop_s", "end_time", "end", "t_end"),
    "verb": ("verb_label",),
    "noun": ("noun_label",),
    "participant": ("participant_id", "subject"),
    "uid": ("narration_id",),
}
_EGO4D = (
    "Write a csv with one row for each entry of 'clips': clip_uid as video, action_clip_start_sec as start, "
    "action_clip_end_sec as stop, then verb and noun"
)
_LISTS = (
    (
        re.compile(r"\S+-R\d+-\S+-\d+-\d+-F\d+-F\d+( \d+)+"),
        "a list of EGTEA Gaze+",
        "It is read from its folder, as the data set egtea (dataset.name, --dataset)",
    ),
    (
        re.compile(r"\d+, ?P\d+_\d+(, ?-?\d+){5}"),
        "a csv of RULSTM",
        "It is read from its folder, as the data set rulstm-ek100 or rulstm-ek55 (dataset.name, --dataset)",
    ),
    (
        re.compile(r"[^,;\t]+( \d+)+"),
        "a list of mmaction2, videos and class numbers without times",
        "What comes before an action must be known: write a csv with a row for each action of a whole video, with the "
        "columns video,start,stop,label",
    ),
)
_FIRST_LINES = 5


def require_csv(path: Path, text: str) -> None:
    """Refuse what is JSON, or a list of a known kind.

    Args:
        path: The file.
        text: Its content.

    Raises:
        AnnotationError: Names the format, and what to do.
    """
    if text.lstrip()[:1] in ("{", "["):
        kind, remedy = "JSON", "Write a csv with the columns video,start,stop,verb,noun and one row for each action"
        if '"clips"' in text and '"action_clip_start_sec"' in text:
            kind, remedy = "JSON of Ego4D's long-term anticipation", _EGO4D
        raise AnnotationError(f"{path}: is {kind}, expected csv. {remedy}.")
    lines = [line.strip() for line in text[:2000].splitlines() if line.strip()][:_FIRST_LINES]
    for pattern, kind, remedy in _LISTS:
        if all(map(pattern.fullmatch, lines)):
            raise AnnotationError(f"{path}: looks like {kind}, expected a csv with a header. {remedy}.")


def renames_of(header: Sequence[str], missing: Sequence[str]) -> str:
    """Return how the columns of a header are to be renamed, in words; empty where none is known to be what is missing.

    Args:
        header: The names of all columns.
        missing: Names that are needed and are not there.
    """
    found = {}
    for ours, others in _OTHER_NAMES.items():
        theirs = [name for name in header if name.casefold() in others]
        if theirs and ours not in header:
            found[ours] = theirs[0]
    if not set(missing) & set(found):
        return ""
    remedy = f"Rename {', '.join(f'{theirs} to {ours}' for ours, theirs in found.items())}"
    others = [name for name in missing if name not in found]
    if others:
        remedy += f", and add {', '.join(others)}"
    if set(header) >= _EPIC:
        remedy += (
            "; this is the header of EPIC-KITCHENS, whose own files are read from their folder, as the data set "
            "epic100 or epic55 (dataset.name, --dataset)"
        )
    return remedy
