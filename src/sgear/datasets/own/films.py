"""Own videos against the rows that speak of them: each is there once, opens, and is as long as its rows say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sgear.datasets.own.problems import ProblemList
from sgear.datasets.own.rows import OwnRow
from sgear.errors import VideoError
from sgear.files import quoted
from sgear.video.base import FilmSpan
from sgear.video.find import needs_rate, scan_films
from sgear.video.pool import open_film

# A recording of GoPro: GX010001.MP4, GX020001.MP4, ...; of older cameras GOPR0001.MP4, GP010001.MP4, ...
_CHAPTER = re.compile(r"(G[A-Z])(\d\d|PR)(\d{4})")


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


def check_films(
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

    Raises:
        VideoError: If there is no such folder.
    """
    rows_of: dict[str, list[OwnRow]] = defaultdict(list)
    for row in rows:
        rows_of[row.video].append(row)
    films = scan_films(root, rows_of)
    clipped: list[Clipped] = []
    for video, of_video in rows_of.items():
        found = films.get(video, [])
        line = of_video[0].line
        if not found:
            remedy = f"Put it there as {video}.mp4, or correct the name; case counts"
            problems.error(line, "video", video, f"no such video in {root}", remedy)
        elif len(found) > 1:
            text = f"two videos have this name, {found[0]} and {found[1]}"
            problems.error(line, "video", video, text, "Rename or remove one")
        elif needs_rate(found[0]):
            text = f"{found[0]} is made of pictures, which do not say how long they last; its rows were not checked"
            problems.note(line, "video", text, "Name the rate of their numbers in training, source.frame_fps")
        else:
            clipped += _check_length(of_video, found[0], problems, clip_s)
    if clipped:
        first = clipped[0]
        text = f"stops after the end of their video ({len(clipped)}), first {first.stop_s:g} of {first.video}"
        remedy = f"They were moved to its end, here {first.end_s:.3f} s, as --clip-to-video {clip_s:g} says"
        problems.note(first.line, "stop", text, remedy)
    end_of = {each.line: each.end_s for each in clipped}
    return tuple(replace(row, stop_s=end_of[row.line]) if row.line in end_of else row for row in rows), tuple(clipped)


def _check_length(rows: list[OwnRow], path: Path, problems: ProblemList, clip_s: float) -> list[Clipped]:
    try:
        with open_film(path) as film:
            span = FilmSpan.of(film)
    except VideoError as err:
        problems.error(rows[0].line, "video", rows[0].video, str(err).rstrip("."), "Copy the video again")
        return []
    clipped = []
    remedy = _remedy(path)
    for row in rows:
        if span.is_past(row.stop_s):
            if row.start_s < span.end_s and row.stop_s <= span.end_s + clip_s:
                clipped.append(Clipped(row.line, row.video, row.stop_s, span.end_s))
                continue
            text = f"the video {path.name} ends at {span.end_s:.3f} s"
            problems.error(row.line, "stop", f"{row.stop_s:g}", text, remedy)
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
