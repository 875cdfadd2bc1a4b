"""A csv of own annotations -> its right rows, and what is wrong with each of the others.

Columns: `video`, `start`, `stop`, then `verb` and `noun`, or `label`; optional `participant`, `split`, `uid`.

Every problem has its line, column, value and remedy. An `error` keeps the file from being imported. A `warning` lets it
pass, but numbers may not mean what they seem to. A `note` only says what will happen. Annotations in the formats of
others are told apart: how a csv is made of them, or which data set reads them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sgear.datasets.csv_table import parse_rows, read_text, shown, wrong_separator
from sgear.errors import AnnotationError
from sgear.files import plain
from sgear.video.find import VIDEO_ENDINGS

Level = Literal["error", "warning", "note"]
_LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_NUM_NAMED = 8
TIME_COLUMNS = ("video", "start", "stop")
OPTIONAL = ("participant", "split", "uid")
WRITTEN_IDS = ("verb_id", "noun_id", "action_id")
"""Columns that an imported folder adds; in a csv they are made anew and not read."""
SPLITS = ("train", "validation", "test")
_SPLIT_HINTS = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "eval": "validation",
    "testing": "test",
}
_LONGEST_NAME = 200
_LATEST_S = 1e6
_SHOWN = 40

_SECONDS = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CLOCK = re.compile(r"([0-9]{1,5}):([0-5][0-9]):([0-5][0-9])(\.[0-9]+)?")
_TIME_HINTS = (
    (re.compile(r"[+-]?[0-9]+,[0-9]+"), "has a decimal comma", "Write a point: 12.5"),
    (re.compile(r"[0-9]+:[0-9]{2}(\.[0-9]+)?"), "has no hours", "Write HH:MM:SS, e.g. 00:01:30.5, or seconds, 90.5"),
    (
        re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE),
        "is no time",
        "Write seconds such as 12.5, or remove the row",
    ),
)

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


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, or worth to know.

    Args:
        level: How bad it is.
        text: What is wrong.
        remedy: What to do.
        line: Line of the file, from 1; None where it is about the whole file.
        column: Column of the value; None where it is about the whole row or file.
        value: What stands there, in quotes where it is long or blank; None as above.
    """

    level: Level
    text: str
    remedy: str
    line: int | None = None
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line is not None else []
        if self.column is not None:
            where.append(self.column if self.value is None else f"{self.column} {self.value}")
        return f"{', '.join(where)}: {self.text}. {self.remedy}." if where else f"{self.text}. {self.remedy}."


class ProblemList:
    """Collects problems; in the end sorted by level, then line."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self.num_errors = 0

    def error(self, text: str, remedy: str, *, value: str | None = None, **where: Any) -> None:
        """Add an error; `where` is the `line` and the `column`, as far as it has them."""
        self.num_errors += 1
        self._add("error", text, remedy, value=None if value is None else shown(value), **where)

    def warning(self, text: str, remedy: str, **where: Any) -> None:
        """Add a warning."""
        self._add("warning", text, remedy, **where)

    def note(self, text: str, remedy: str, **where: Any) -> None:
        """Add a note."""
        self._add("note", text, remedy, **where)

    def sorted(self) -> tuple[Problem, ...]:
        """Return all problems, errors first, each level by line."""
        return tuple(sorted(self._problems, key=lambda each: (_LEVELS.index(each.level), each.line or 0)))

    def _add(self, level: Level, text: str, remedy: str, **where: Any) -> None:
        self._problems.append(Problem(level=level, text=text, remedy=remedy, **where))


def named(names: Sequence[str]) -> str:
    """Return names for a message: the first few in quotes, and how many more there are."""
    rest = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(shown(name) for name in names[:_NUM_NAMED]) + rest


@dataclass(frozen=True)
class OwnRow:
    """One right row.

    Args:
        line: Line of the file.
        video: Name of the video, without folder and ending.
        start_s: Start of the action in seconds.
        stop_s: Its end in seconds.
        names: (verb, noun) or (label,); empty where a test row has none.
        participant: Who acts; None without such a column.
        split: One of `SPLITS`; None without such a column.
        uid: Name of the row; empty without such a column.
    """

    line: int
    video: str
    start_s: float
    stop_s: float
    names: tuple[str, ...]
    participant: str | None
    split: str | None
    uid: str


@dataclass(frozen=True)
class OwnTable:
    """The right rows of a file, and which columns it has."""

    rows: tuple[OwnRow, ...]
    style: tuple[str, ...]
    has_participants: bool
    has_splits: bool


def read_own(path: Path, problems: ProblemList) -> OwnTable | None:
    """Read all rows; what is wrong goes to `problems`.

    Returns:
        The rows without an error of their own, or None where the header is wrong.
    """
    text = read_text(path, remedy="Check the path.")
    _require_csv(path, text)
    rows, lines = parse_rows(text, path)
    _make_plain(rows, lines, problems)
    header, first_line = rows.pop(0), lines.pop(0)
    style = _check_header(header, first_line, problems)
    if style is None:
        return None
    if not rows:
        problems.error("there is no row below the header", "Write one row per action", line=first_line)
    good = []
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            text = f"{len(row)} fields, expected {len(header)} as in the header"
            remedy = 'Put double quotes around a value with a comma, "a, b"; write numbers with a decimal point'
            problems.error(text, remedy, line=line)
        elif (right := _read_row(dict(zip(header, row, strict=True)), line, style, problems)) is not None:
            good.append(right)
    return OwnTable(tuple(good), style, "participant" in header, "split" in header)


def _make_plain(rows: list[list[str]], lines: list[int], problems: ProblemList) -> None:
    """Write all values in one Unicode form, in place, so that what looks equal is equal; note each changed column."""
    changed: dict[int, list[tuple[int, str]]] = {}
    for row, line in zip(rows, lines, strict=True):
        for place, value in enumerate(row):
            if not value.isascii() and (same := plain(value).strip()) != value:
                changed.setdefault(place, []).append((line, value))
                row[place] = same
    for place, values in sorted(changed.items()):
        line, value = values[0]
        column = rows[0][place] if place < len(rows[0]) else None
        text = (
            "values with characters that cannot be seen, or that are composed in another way than usual "
            f"({len(values)}), first {value[:_SHOWN]!a}"
        )
        remedy = "They are taken as they look: composed (Unicode NFC), with plain blanks and without such characters"
        problems.note(text, remedy, line=line, column=column)


def _check_header(header: list[str], line: int, problems: ProblemList) -> tuple[str, ...] | None:
    """Return how labels are given, or None where the header is wrong."""
    missing = [name for name in TIME_COLUMNS if name not in header]
    separator = wrong_separator(header)
    if missing and separator is not None:
        text = f"the columns are separated by {separator}, expected commas"
        problems.error(text, "Save the file as 'CSV UTF-8 (comma delimited)'", line=line)
        return None
    style = ("label",) if "label" in header else ("verb", "noun")
    known = {*TIME_COLUMNS, *OPTIONAL, "label", "verb", "noun"}
    missing += [name for name in style if name not in header]
    twice = sorted(name for name in known if header.count(name) > 1)
    unknown = [name for name in header if name not in known and name not in WRITTEN_IDS]
    has_both = "label" in header and ("verb" in header or "noun" in header)
    if missing:
        spelled = [name for name in unknown if name.casefold() in missing]
        hint = f"; write {named(spelled)} in small letters" if spelled else ""
        if not spelled and {"verb", "noun"} & set(missing):
            hint = ", or give 'label' instead of verb and noun"
        remedy = _renames_of(header, missing) or f"Add them to the header{hint}"
        problems.error(f"columns {named(missing)} are missing", remedy, line=line)
    if has_both:
        problems.error("there is a column label and a column verb or noun", "Keep label, or verb and noun", line=line)
    if twice:
        problems.error(f"columns {named(twice)} occur twice", "Remove one of each", line=line)
    if unknown and not missing:
        problems.note(f"columns {named(unknown)} are not used", "Correct the name if one is misspelled", line=line)
    return None if missing or has_both or twice else style


def _read_row(row: dict[str, str], line: int, style: tuple[str, ...], problems: ProblemList) -> OwnRow | None:
    """Return the row, or None after saying all that is wrong with it."""
    num_before = problems.num_errors
    wrong = partial(_wrong, problems, line, row)
    for name in (*style, *OPTIONAL, "video"):
        value = row.get(name, "")
        if not value.isprintable() and any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in value):
            wrong(name, "holds a line break or another control character", "Remove it")
        if len(value) > _LONGEST_NAME:
            text = f"has {len(value)} characters, at most {_LONGEST_NAME} are allowed"
            wrong(name, text, "Shorten it, or look for a quote that is not closed")
    video = row["video"]
    if video == "":
        wrong("video", "is empty", "Write the name of the video file")
    front, point, ending = (file_name := re.split(r"[/\\]", video)[-1]).rpartition(".")
    stem = front if (point + ending).casefold() in VIDEO_ENDINGS else file_name
    if stem != video:
        wrong("video", "has a folder or a file ending", f"Write the name alone: {stem}")
    for name in ("participant", "uid"):
        if row.get(name) == "":
            wrong(name, "is empty", f"Write it, or remove the column {name} for all rows")
    split = row.get("split")
    if split is not None and split not in SPLITS:
        hint = _SPLIT_HINTS.get(split.casefold(), split.casefold())
        wrong("split", "is no split", f"Write {hint}" if hint in SPLITS else f"Write one of {', '.join(SPLITS)}")
    empty = [name for name in style if row[name] == ""]
    if empty and not (split == "test" and len(empty) == len(style)):
        for name in empty:
            wrong(name, "is empty", "Write what is done, or remove the row")
    start_s, stop_s = (_read_time(row[name], partial(wrong, name)) for name in ("start", "stop"))
    if start_s is not None and stop_s is not None and stop_s <= start_s:
        text = f"is not after the start {row['start']}"
        wrong("stop", text, "Correct start or stop; both count from the start of the video")
    if start_s is None or stop_s is None or problems.num_errors > num_before:
        return None
    names = () if empty else tuple(row[name] for name in style)
    return OwnRow(line, video, start_s, stop_s, names, row.get("participant"), split, row.get("uid", ""))


def _wrong(problems: ProblemList, line: int, row: dict[str, str], column: str, text: str, remedy: str) -> None:
    problems.error(text, remedy, line=line, column=column, value=row[column])


def _read_time(text: str, wrong: Callable[[str, str], None]) -> float | None:
    """Return seconds, or None after saying what is wrong."""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds, fraction = clock.groups(default="")
        # One decimal number, so that 00:01:01.60 is the float nearest to 61.6.
        value = float(f"{int(hours) * 3600 + int(minutes) * 60 + int(seconds)}{fraction}")
    elif _SECONDS.fullmatch(text):
        value = float(text)
    else:
        usual = ("is empty" if text == "" else "is no time", "Write seconds such as 12.5, or HH:MM:SS.ss")
        wrong(*next(((problem, what) for pattern, problem, what in _TIME_HINTS if pattern.fullmatch(text)), usual))
        return None
    if value < 0:
        wrong("is before the start of the video", "Count seconds from the first frame, 0")
        return None
    if value > _LATEST_S:
        wrong(f"is later than {_LATEST_S:,.0f} s", "Write seconds, not frames or milliseconds")
        return None
    # Minus zero is zero.
    return abs(value)


def _require_csv(path: Path, text: str) -> None:
    """Refuse what is JSON, or a list of a known kind; name the format, and what to do."""
    if text.lstrip()[:1] in ("{", "["):
        kind, remedy = "JSON", "Write a csv with the columns video,start,stop,verb,noun and one row for each action"
        if '"clips"' in text and '"action_clip_start_sec"' in text:
            kind, remedy = "JSON of Ego4D's long-term anticipation", _EGO4D
        raise AnnotationError(f"{path}: is {kind}, expected csv. {remedy}.")
    lines = [line.strip() for line in text[:2000].splitlines() if line.strip()][:_FIRST_LINES]
    for pattern, kind, remedy in _LISTS:
        if all(map(pattern.fullmatch, lines)):
            raise AnnotationError(f"{path}: looks like {kind}, expected a csv with a header. {remedy}.")


def _renames_of(header: Sequence[str], missing: Sequence[str]) -> str:
    """Return in words how columns are to be renamed; empty where none is known to be one of the missing."""
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
