"""What is wrong between the rows of an own csv, and between its rows and the videos that they speak of.

Faults that make a table ambiguous are errors with their line. Faults of the data as a whole are one warning each, with
a count and the first few names. Each video is there once, opens, and is as long as its rows say.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sgear.datasets.own.rows import OwnRow, ProblemList, named
from sgear.errors import VideoError
from sgear.files import quoted
from sgear.video.base import VideoSpan
from sgear.video.find import needs_rate, scan_videos
from sgear.video.pool import open_video

# Usual anticipation time, in seconds.
_TAU_A_S = 1.0
# Joiners are seen in some scripts only.
_UNIMPORTANT = "_\u200c\u200d"
# A recording of GoPro: GX010001.MP4, GX020001.MP4, ...; of older cameras GOPR0001.MP4, GP010001.MP4, ...
_CHAPTER = re.compile(r"(G[A-Z])(\d\d|PR)(\d{4})")


def check_doubles(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Report repeated uids and rows, and videos with two participants, each as an error with its line."""
    line_of_uid: dict[str, int] = {}
    line_of_row: dict[tuple, int] = {}
    person_of: dict[str, OwnRow] = {}
    for row in rows:
        if row.uid and row.uid in line_of_uid:
            text = f"is the uid of line {line_of_uid[row.uid]}, too"
            problems.error(
                text, "Give each row its own, or remove the column", line=row.line, column="uid", value=row.uid
            )
        line_of_uid.setdefault(row.uid, row.line)
        content = (row.video, row.start_s, row.stop_s, row.names)
        if content in line_of_row:
            text = f"says the same as line {line_of_row[content]}"
            problems.error(text, "Remove one of the two", line=row.line)
        line_of_row.setdefault(content, row.line)
        first = person_of.setdefault(row.video, row)
        if first.participant != row.participant:
            text = f"video {row.video} belongs to {first.participant} on line {first.line}"
            where = {"line": row.line, "column": "participant", "value": row.participant or ""}
            problems.error(text, "One person wears the camera: correct it", **where)


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
                remedy = "They are classes of their own: write them alike if they mean the same"
                problems.warning(text, remedy, line=last, column=column)
    pair_of: dict[str, OwnRow] = {}
    for row in rows:
        first = pair_of.setdefault(" ".join(row.names), row)
        if first.names != row.names:
            text = f"verb and noun read like those of line {first.line}, but are divided in another place"
            problems.error(text, "Divide them alike", line=row.line, column="verb", value=row.names[0])


def check_splits(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Refuse an empty training or validation split; warn of videos and participants on two sides."""
    for split in ("train", "validation"):
        if not any(row.split == split for row in rows):
            remedy = f"Write {split} in some rows, or remove the column split"
            problems.error(f"there is no {split} row", remedy, column="split")
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
            problems.warning(text, remedy, column="split")


def check_classes(rows: Sequence[OwnRow], problems: ProblemList) -> None:
    """Warn of classes with one segment, and of classes that are validated but never trained."""
    labelled = [row for row in rows if row.names]
    counts = Counter(row.names for row in labelled)
    single = _texts(names for names, count in counts.items() if count == 1)
    if single:
        text = f"classes with a single segment ({len(single)} of {len(counts)}): {named(single)}"
        problems.warning(text, "Nothing can be learnt and checked from one: add some, or join classes")
    trained = {row.names for row in labelled if row.split == "train"}
    unseen = _texts({row.names for row in labelled if row.split == "validation"} - trained)
    if unseen:
        text = f"validation classes that never occur in training ({len(unseen)}): {named(unseen)}"
        problems.warning(text, "They count as missed in class-mean recall: add training rows")


def check_times(rows: Sequence[OwnRow], problems: ProblemList) -> None:
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
        problems.note(text, "An observed instant gets the action whose center is nearest")
    early = [row for row in rows if row.start_s < _TAU_A_S]
    if early:
        text = f"segments that start before {_TAU_A_S:g} s ({len(early)}), first line {min(row.line for row in early)}"
        remedy = f"At tau_a = {_TAU_A_S:g} s there is nothing to see: trained without, validated by the class prior"
        problems.note(text, remedy)


def _texts(classes: Iterable[tuple[str, ...]]) -> list[str]:
    return sorted(" ".join(names) for names in classes)


@dataclass(frozen=True)
class Clipped:
    """A stop that was moved to the end of its video.

    Args:
        line: Line of the csv.
        video: The video.
        stop_s: What stands there, in seconds.
        end_s: The end of the video, which is the stop from now on.
    """

    line: int
    video: str
    stop_s: float
    end_s: float


def check_videos(
    rows: Sequence[OwnRow], root: Path, problems: ProblemList, *, clip_s: float = 0.0
) -> tuple[tuple[OwnRow, ...], tuple[Clipped, ...]]:
    """Open the video of each row; a row may end one frame after the last frame.

    Args:
        rows: Rows of a csv.
        root: Folder that holds the videos, at any depth.
        problems: Takes a missing, doubled or unreadable video once, and each row that ends after its video.
        clip_s: Stops up to so many seconds after the end become the end.

    Returns:
        The rows, and which of them were clipped.
    """
    rows_of: dict[str, list[OwnRow]] = defaultdict(list)
    for row in rows:
        rows_of[row.video].append(row)
    found_of = scan_videos(root, rows_of)
    clipped: list[Clipped] = []
    for video, of_video in rows_of.items():
        found = found_of.get(video, [])
        where = {"line": of_video[0].line, "column": "video", "value": video}
        if not found:
            remedy = f"Put it there as {video}.mp4, or correct the name; case counts"
            problems.error(f"no such video in {root}", remedy, **where)
        elif len(found) > 1:
            text = f"two videos have this name, {found[0]} and {found[1]}"
            problems.error(text, "Rename or remove one", **where)
        elif needs_rate(found[0]):
            text = f"{found[0]} is made of images, which do not say how long they last; its rows were not checked"
            remedy = "Name the rate of their numbers in training, source.frame_fps"
            problems.note(text, remedy, line=of_video[0].line, column="video")
        else:
            clipped += _check_length(of_video, found[0], problems, clip_s)
    if clipped:
        first = clipped[0]
        text = f"stops after the end of their video ({len(clipped)}), first {first.stop_s:g} of {first.video}"
        remedy = f"They were moved to its end, here {first.end_s:.3f} s, as --clip-to-video {clip_s:g} says"
        problems.note(text, remedy, line=first.line, column="stop")
    end_of = {each.line: each.end_s for each in clipped}
    return tuple(replace(row, stop_s=end_of[row.line]) if row.line in end_of else row for row in rows), tuple(clipped)


def _check_length(rows: list[OwnRow], path: Path, problems: ProblemList, clip_s: float) -> list[Clipped]:
    try:
        with open_video(path) as opened:
            span = VideoSpan.of(opened)
    except VideoError as err:
        where = {"line": rows[0].line, "column": "video", "value": rows[0].video}
        problems.error(str(err).rstrip("."), "Copy the video again", **where)
        return []
    clipped = []
    remedy = _remedy(path)
    for row in rows:
        if span.is_past(row.stop_s):
            if row.start_s < span.end_s and row.stop_s <= span.end_s + clip_s:
                clipped.append(Clipped(row.line, row.video, row.stop_s, span.end_s))
                continue
            text = f"the video {path.name} ends at {span.end_s:.3f} s"
            problems.error(text, remedy, line=row.line, column="stop", value=f"{row.stop_s:g}")
    return clipped


def _remedy(path: Path) -> str:
    """Return what to do about a row after the end of a video."""
    chapters = _later_chapters(path)
    if not chapters:
        return "Correct the times, copy the whole video, or accept the last moments with --clip-to-video SECONDS"
    # The names are letters and digits; the folder may be anything.
    names, listing, joined = f"{path.name} {' '.join(chapters)}", f"{path.stem}.txt", f"{path.stem}_joined"
    command = (
        f"cd {quoted(path.parent)} && printf \"file '%s'\\n\" {names} > {listing} && "
        f"ffmpeg -f concat -i {listing} -c copy {joined}{path.suffix}"
    )
    return (
        f"{chapters[0]} is the next chapter of this recording: join them with `{command}`, and write {joined} as the "
        "video of all its rows"
    )


def _later_chapters(path: Path) -> list[str]:
    """Return the names of the files that go on where a file of a GoPro stops, in their order."""
    match = _CHAPTER.fullmatch(path.stem.upper())
    if match is None:
        return []
    kind, number, recording = match.groups()
    kind, last = ("GP", 0) if number == "PR" else (kind, int(number))
    beside = {each.name.upper(): each.name for each in path.parent.iterdir()}
    found = []
    while (name := f"{kind}{last + 1 + len(found):02d}{recording}{path.suffix.upper()}") in beside:
        found.append(beside[name])
    return found
