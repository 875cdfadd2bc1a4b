"""Where the videos and stored features of a data set lie, how long its videos last, and how their images are numbered.

`SGEAR_DATA` names one folder for all data. The original README calls it DATA/, and its tree is found as it stands:
videos/, external/ and extracted_features/.

The rate of a camera is not that of the numbering: `EPIC_100_video_info.csv` states the rate of each camera (59.94, 50,
47.95, 29.97 or 90 frames a second), but before the images were cut out, all videos of 2018 were resampled to 60 and all
of the extension to 50 frames a second. Taking the camera's rate reads half of the time, or the future.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sgear.datasets.base import annotation_folder, data_folder, dataset_spec
from sgear.datasets.csv_table import read_csv
from sgear.errors import AnnotationError, VideoError

INFO_FILES = {"EPIC_100_video_info.csv": "video_id", "EPIC_video_info.csv": "video"}
"""File beside the annotations, and its column of video ids."""

LENGTH_TOLERANCE_S = 0.5
"""Seconds by which a video may differ from what the csv says; published images do by up to a quarter of one."""

_REMEDY = "Get it from the annotations of EPIC-KITCHENS again."


@dataclass(frozen=True)
class VideoInfo:
    """What the csv says of a video: its length in seconds, and the frames per second of its camera."""

    duration_s: float
    fps: float


def dataset_folder(name: str, root: str = "") -> Path:
    """Return the folder of one data set: `root`, or the folder of its name under SGEAR_DATA."""
    return Path(root) if root else data_folder() / (dataset_spec(name).places.folder or name)


def video_places(name: str, root: str = "") -> tuple[Path, ...]:
    """Return where videos of a data set are looked for, in this order.

    First the data set's folder in the layout of its original release, then `videos` in it, then SGEAR_DATA in that
    layout; e.g. `videos/EpicKitchens/videos_ht256px/train` of epic100. See `Places.videos`.

    Args:
        name: Name of the data set.
        root: Its folder. Default: the folder of its name under SGEAR_DATA.
    """
    own, shared = dataset_folder(name, root), dataset_spec(name).places.videos
    places = [*(own / part for part in shared), own / "videos", *(data_folder() / part for part in shared)]
    return tuple(dict.fromkeys(places))


def feature_places(name: str, root: str = "") -> tuple[Path, ...]:
    """Return the folders in which stored features of a data set are looked for by name, in this order.

    First `features` of the data set's folder; then, in that folder and under SGEAR_DATA, the layout of its original
    release, e.g. `external/rulstm/RULSTM/ek100_data_full` (rgb, flow, obj) of epic100. See `Places.features`.

    Args:
        name: Name of the data set.
        root: Its folder. Default: the folder of its name under SGEAR_DATA.
    """
    own, shared = dataset_folder(name, root), dataset_spec(name).places.features
    return tuple(dict.fromkeys([own / "features", *(base / part for base in (own, data_folder()) for part in shared)]))


def read_video_info(folder: Path) -> dict[str, VideoInfo]:
    """Return what the info csv beside the annotations says of each video; nothing where there is no such file.

    Raises:
        AnnotationError: If the file is damaged, a number is not positive, or a video stands there twice.
    """
    for file_name, id_column in INFO_FILES.items():
        path = folder / file_name
        if not path.exists():
            continue
        table = read_csv(path, [id_column, "duration", "fps"], remedy=_REMEDY)
        durations, rates = (table.numbers(name).to_list() for name in ("duration", "fps"))
        video_ids = table.text(id_column).to_list()
        if num_double := len(video_ids) - len(set(video_ids)):
            raise AnnotationError(f"{path}: {num_double} videos stand there twice. {_REMEDY}")
        if min(*durations, *rates, 1) <= 0:
            raise AnnotationError(f"{path}: a duration or rate is not positive. {_REMEDY}")
        return dict(zip(video_ids, map(VideoInfo, durations, rates), strict=True))
    return {}


def stated_lengths(name: str, root: Path | None = None) -> dict[str, float]:
    """Return the length of videos in seconds, as far as the annotations of a data set say it.

    RULSTM's lists do not; where the official annotations lie under SGEAR_DATA, too, they are asked.

    Raises:
        AnnotationError: If a file is damaged, or that of the data set itself is not found.
    """
    info = read_video_info(annotation_folder(name, root))
    for official in () if info else dataset_spec(name).lengths_from:
        with contextlib.suppress(AnnotationError):
            info = read_video_info(annotation_folder(official))
            break
    return {video_id: each.duration_s for video_id, each in info.items()}


def require_stated_length(video: str, found_s: float, stated_s: float, *, rate: float, remedy: str) -> None:
    """Check the length of a video made of images against what the csv says: a wrong rate shows the future.

    Args:
        video: How the message names it.
        found_s: Its length in seconds, at the rate that was taken for its numbering.
        stated_s: Its length in seconds by the csv.
        rate: That rate.
        remedy: What to do where it is the wrong one.

    Raises:
        VideoError: If they differ by more than `LENGTH_TOLERANCE_S`.
    """
    if abs(found_s - stated_s) > LENGTH_TOLERANCE_S:
        raise VideoError(
            f"{video}: its images, {rate:g} to the second, last {found_s:.3f} s, but the video info csv says "
            f"{stated_s:.3f} s: images are missing at the end, or they were numbered at about "
            f"{rate * found_s / stated_s:.2f} to the second. Copy them again, or {remedy}"
        )


def numbering_rates(name: str, video_ids: Sequence[str], info: Mapping[str, VideoInfo]) -> dict[str, float]:
    """Return at how many a second the images of each video were numbered; videos of which it is unknown are absent.

    Args:
        name: Name of the data set; what it says of a published video goes before the csv.
        video_ids: Videos.
        info: See `read_video_info`.
    """
    published = dataset_spec(name).numbering_fps or (lambda _: None)
    stated = {video_id: info[video_id].fps for video_id in video_ids if video_id in info}
    return stated | {video_id: fps for video_id in video_ids if (fps := published(video_id)) is not None}
