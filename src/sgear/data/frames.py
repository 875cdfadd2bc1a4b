"""Videos of a data set -> frames in a cache of the size a model reads."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from sgear.errors import VideoError
from sgear.models.pretrained import Preprocessing
from sgear.video.cache import FrameCache, build_frame_cache
from sgear.video.reader import VideoReader
from sgear.video.sizes import reading_size

EXTENSIONS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


def find_videos(root: Path, video_ids: Sequence[str]) -> dict[str, Path]:
    """Return the film of each video id, anywhere under `root`.

    Raises:
        VideoError: If a film is missing; counts the missing ones and names the first.
    """
    if not root.is_dir():
        raise VideoError(f"{root}: no such folder of videos")
    found = {path.stem: path for path in sorted(root.rglob("*")) if path.suffix.lower() in EXTENSIONS}
    missing = [video_id for video_id in video_ids if video_id not in found]
    if missing:
        raise VideoError(
            f"{root}: {len(missing)} of {len(video_ids)} annotated videos are missing, first {missing[0]!r}; put the "
            f"file there as {missing[0]}.mp4, or remove its annotation rows"
        )
    return {video_id: found[video_id] for video_id in video_ids}


def cache_frames(
    videos: dict[str, Path],
    root: Path,
    preprocessing: Preprocessing,
    *,
    fps: float,
    progress: Callable[[int, int], None] | None = None,
) -> FrameCache:
    """Fill and open the frame cache for a set of films; what is there already is kept.

    Args:
        videos: Film of each video id.
        root: Folder for caches; each size and rate has a folder of its own.
        preprocessing: Size the model reads.
        fps: Kept frames per second.
        progress: Called with the number of finished videos and of all videos.
    """
    of_size: dict[tuple[int, int], dict[str, Path]] = defaultdict(dict)
    for video_id, path in videos.items():
        with VideoReader(path) as reader:
            film = (reader.height, reader.width)
        size = reading_size((preprocessing.height, preprocessing.width), preprocessing.crop_margin, film)
        of_size[size][video_id] = path
    folder = root / f"{preprocessing.height}x{preprocessing.width}-{fps:g}fps"
    num_done = 0
    for (height, width), group in of_size.items():
        num_before = num_done

        def report(done: int, total: int, before: int = num_before) -> None:
            if progress is not None:
                progress(before + done, len(videos))

        build_frame_cache(
            group,
            folder,
            height=height,
            width=width,
            fps=fps,
            num_processes=os.cpu_count() or 1,
            progress=report,
        )
        num_done += len(group)
    return FrameCache(folder)
