"""Own videos against the rows that speak of them: each film is there once, opens, and is as long as its rows say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sgear.datasets.own.problems import ProblemList
from sgear.datasets.own.rows import OwnRow
from sgear.errors import VideoError
from sgear.video.corpus import needs_rate, scan_films
from sgear.video.opening import open_film
from sgear.video.span import FilmSpan


def check_films(rows: Iterable[OwnRow], root: Path, problems: ProblemList) -> None:
    """Open the film of each video; a row may end one frame after the last frame.

    Args:
        rows: Rows of a csv.
        root: Folder that holds the films, at any depth.
        problems: Takes a missing, doubled or unreadable film once, and each row that ends after its film.

    Raises:
        VideoError: If there is no such folder.
    """
    rows_of: dict[str, list[OwnRow]] = defaultdict(list)
    for row in rows:
        rows_of[row.video].append(row)
    films = scan_films(root, rows_of)
    for video, of_video in rows_of.items():
        found = films.get(video, [])
        line = of_video[0].line
        if not found:
            remedy = f"Put it there as {video}.mp4, or correct the name; case counts"
            problems.error(line, "video", video, f"no such film in {root}", remedy)
        elif len(found) > 1:
            text = f"two films have this name, {found[0]} and {found[1]}"
            problems.error(line, "video", video, text, "Rename or remove one")
        elif needs_rate(found[0]):
            text = f"{found[0]} is made of pictures, which do not say how long they last; its rows were not held to it"
            problems.note(line, "video", text, "Name the rate of their numbers in training, source.frame_fps")
        else:
            _check_length(of_video, found[0], problems)


def _check_length(rows: list[OwnRow], path: Path, problems: ProblemList) -> None:
    try:
        with open_film(path) as film:
            span = FilmSpan.of(film)
    except VideoError as err:
        problems.error(rows[0].line, "video", rows[0].video, str(err).rstrip("."), "Copy the film again")
        return
    for row in rows:
        if span.is_past(row.stop_s):
            text = f"the film {path.name} ends at {span.end_s:.3f} s"
            problems.error(row.line, "stop", f"{row.stop_s:g}", text, "Correct the times, or copy the whole film")
