"""What is wrong between the rows of an own csv: doubles, people on both sides, names that mean the same, rare classes.

Faults that make a table ambiguous are errors with their line. Faults of the data as a whole are one warning each, with
a count and the first few names.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from sgear.datasets.own.problems import ProblemList, named
from sgear.datasets.own.rows import OwnRow

# Joiners are seen in some scripts only.
_UNIMPORTANT = "_\u200c\u200d"


def check_doubles(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Report repeated uids and rows, and videos with two participants, each as an error with its line."""
    line_of_uid: dict[str, int] = {}
    line_of_row: dict[tuple, int] = {}
    person_of: dict[str, OwnRow] = {}
    for row in rows:
        if row.uid and row.uid in line_of_uid:
            text = f"is the uid of line {line_of_uid[row.uid]}, too"
            problems.error(row.line, "uid", row.uid, text, "Give each row its own, or remove the column")
        line_of_uid.setdefault(row.uid, row.line)
        content = (row.video, row.start_s, row.stop_s, row.names)
        if content in line_of_row:
            text = f"says the same as line {line_of_row[content]}"
            problems.error(row.line, None, None, text, "Remove one of the two")
        line_of_row.setdefault(content, row.line)
        first = person_of.setdefault(row.video, row)
        if first.participant != row.participant:
            text = f"video {row.video} belongs to {first.participant} on line {first.line}"
            problems.error(
                row.line, "participant", row.participant or "", text, "One person wears the camera: correct it"
            )


def check_names(rows: Sequence[OwnRow], style: Sequence[str], problems: ProblemList) -> None:
    """Warn of names that differ only by case, blanks, underscores or forms of letters; refuse pairs that read alike."""
    for index, column in enumerate(style):
        variants: dict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            if row.names:
                name = row.names[index]
                letters = unicodedata.normalize("NFKC", name).casefold()
                key = "".join(letter for letter in letters if not letter.isspace() and letter not in _UNIMPORTANT)
                variants[key].setdefault(name, row.line)
        for lines in variants.values():
            if len(lines) > 1:
                *_, last = lines.values()
                text = f"{named(sorted(lines))} differ only by case, blanks, underscores or forms of letters"
                problems.warning(
                    last, column, text, "They are classes of their own: write them alike if they mean the same"
                )
    pair_of: dict[str, OwnRow] = {}
    for row in rows:
        first = pair_of.setdefault(" ".join(row.names), row)
        if first.names != row.names:
            text = f"verb and noun read like those of line {first.line}, but are divided in another place"
            problems.error(row.line, "verb", row.names[0], text, "Divide them alike")


def check_splits(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Refuse an empty training or validation split; warn of videos and participants on two sides."""
    for split in ("train", "validation"):
        if not any(row.split == split for row in rows):
            text = f"there is no {split} row"
            problems.error(None, "split", None, text, f"Write {split} in some rows, or remove the column split")
    kinds: list[tuple[str, Callable[[OwnRow], str | None]]] = [
        ("video", lambda row: row.video),
        ("participant", lambda row: row.participant),
    ]
    for kind, group_of in kinds:
        splits_of: dict[str, set[str | None]] = defaultdict(set)
        for row in rows:
            group = group_of(row)
            if group is not None:
                splits_of[group].add(row.split)
        shared = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
        if shared:
            text = f"{kind}s in more than one split ({len(shared)}): {named(shared)}"
            remedy = f"Numbers will look too good: put all rows of a {kind} into one split"
            problems.warning(None, "split", text, remedy)


def check_classes(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Warn of classes with one segment, and of classes that are validated but never trained."""
    labelled = [row for row in rows if row.names]
    counts = Counter(row.names for row in labelled)
    single = _texts(names for names, count in counts.items() if count == 1)
    if single:
        text = f"classes with a single segment ({len(single)} of {len(counts)}): {named(single)}"
        problems.warning(None, None, text, "Nothing can be learnt and checked from one: add some, or join classes")
    trained = {row.names for row in labelled if row.split == "train"}
    unseen = _texts({row.names for row in labelled if row.split == "validation"} - trained)
    if unseen:
        text = f"validation classes that never occur in training ({len(unseen)}): {named(unseen)}"
        problems.warning(None, None, text, "They count as missed in class-mean recall: add training rows")


def check_times(rows: Sequence[OwnRow], tau_a_s: float, problems: ProblemList) -> None:
    """Note segments that overlap, and segments before which nothing can be seen."""
    overlaps = []
    latest: dict[str, OwnRow] = {}
    for row in sorted(rows, key=lambda each: (each.video, each.start_s, each.stop_s)):
        before = latest.get(row.video)
        if before is not None and row.start_s < before.stop_s:
            overlaps.append((before, row))
        if before is None or row.stop_s > before.stop_s:
            latest[row.video] = row
    if overlaps:
        before, row = overlaps[0]
        text = f"segments that overlap an earlier one ({len(overlaps)}), first lines {before.line} and {row.line}"
        problems.note(None, None, text, "An observed instant gets the action whose centre is nearest")
    early = [row for row in rows if row.start_s < tau_a_s]
    if early:
        text = f"segments that start before {tau_a_s:g} s ({len(early)}), first line {min(row.line for row in early)}"
        remedy = f"At tau_a = {tau_a_s:g} s there is nothing to see: trained without, validated by the class prior"
        problems.note(None, None, text, remedy)


def _texts(classes: Iterable[tuple[str, ...]]) -> list[str]:
    return sorted(" ".join(names) for names in classes)
