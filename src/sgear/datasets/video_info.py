"""How long the films of EPIC-KITCHENS last, and at which rate their published pictures were numbered.

The two are different things: `EPIC_100_video_info.csv` states the rate of each camera (59.94, 50, 47.95, 29.97 or 90
frames a second), but before the pictures were cut out, all films of 2018 were resampled to 60 and all of the extension
to 50 frames a second. Taking the camera's rate reads half of the time, or the future.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgear.datasets.text_table import read_csv
from sgear.errors import AnnotationError, VideoError

INFO_FILES = {"EPIC_100_video_info.csv": "video_id", "EPIC_video_info.csv": "video"}
"""File beside the annotations, and its column of video ids."""

LENGTH_TOLERANCE_S = 0.5
"""Seconds by which a film may differ from what the csv says; published pictures do by up to a quarter of one."""

_REMEDY = "Get it from the annotations of EPIC-KITCHENS again."
_EPIC = frozenset({"epic55", "epic100", "rulstm-ek55", "rulstm-ek100"})
_FILM_OF_2018 = re.compile(r"P[0-9]{2}_[0-9]{2}")
_FILM_OF_THE_EXTENSION = re.compile(r"P[0-9]{2}_[0-9]{3}")


@dataclass(frozen=True)
class VideoInfo:
    """What the csv says of a film: its length in seconds, and the frames per second of its camera."""

    duration_s: float
    fps: float


def read_video_info(folder: Path) -> dict[str, VideoInfo]:
    """Return what the info csv beside the annotations says of each film; nothing where there is no such file.

    Raises:
        AnnotationError: If the file is damaged, a number is not positive, or a film stands there twice.
    """
    for file_name, id_column in INFO_FILES.items():
        path = folder / file_name
        if not path.exists():
            continue
        table = read_csv(path, [id_column, "duration", "fps"], remedy=_REMEDY)
        durations, rates = table.numbers("duration"), table.numbers("fps")
        video_ids = table.text(id_column).to_list()
        if len(set(video_ids)) != len(video_ids):
            raise AnnotationError(f"{path}: {len(video_ids) - len(set(video_ids))} films stand there twice. {_REMEDY}")
        if min(durations.min() or 0, rates.min() or 0) <= 0:  # type: ignore[type-var]
            raise AnnotationError(f"{path}: a duration or rate is not positive. {_REMEDY}")
        return {
            video_id: VideoInfo(duration_s, fps)
            for video_id, duration_s, fps in zip(video_ids, durations, rates, strict=True)
        }
    return {}


def require_stated_length(film: str, found_s: float, stated_s: float, *, rate: float, remedy: str) -> None:
    """Hold the length of a film made of pictures against what the csv says: a wrong rate shows the future.

    Args:
        film: How the message names it.
        found_s: Its length in seconds, at the rate that was taken for its numbering.
        stated_s: Its length in seconds by the csv.
        rate: That rate.
        remedy: What to do where it is the wrong one.

    Raises:
        VideoError: If they differ by more than `LENGTH_TOLERANCE_S`.
    """
    if abs(found_s - stated_s) > LENGTH_TOLERANCE_S:
        raise VideoError(
            f"{film}: its pictures, {rate:g} to the second, last {found_s:.3f} s, but the video info csv says "
            f"{stated_s:.3f} s: pictures are missing at the end, or they were numbered at about "
            f"{rate * found_s / stated_s:.2f} to the second. Copy them again, or {remedy}"
        )


def numbering_rates(name: str, video_ids: Sequence[str], info: Mapping[str, VideoInfo]) -> dict[str, float]:
    """Return at how many a second the pictures of each film were numbered; films of which nothing is known are absent.

    Args:
        name: Name of the data set.
        video_ids: Films.
        info: See `read_video_info`.

    Source:
        The frame numbers of the annotations are 60 times (P01_01) or 50 times (P01_101) the timestamps, whatever the
        rate of the camera; github.com/epic-kitchens/C2-Action-Detection, issue 8, says why.
    """
    rates = {video_id: info[video_id].fps for video_id in video_ids if video_id in info}
    if name in _EPIC:
        for video_id in video_ids:
            if _FILM_OF_2018.fullmatch(video_id):
                rates[video_id] = 60.0
            elif _FILM_OF_THE_EXTENSION.fullmatch(video_id):
                rates[video_id] = 50.0
    return rates
