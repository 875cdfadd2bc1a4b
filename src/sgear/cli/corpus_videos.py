"""Videos to extract features from: those in folders, or those of a data set, found and checked as training does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import require_stated_length
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.sources import image_rates, video_roots, without_video
from sgear.video.base import Video
from sgear.video.find import find_videos, list_videos, needs_rate


@dataclass(frozen=True, kw_only=True)
class CorpusVideos:
    """Videos of a corpus.

    Args:
        paths: Video of each video id.
        rates: Rate at which the images of a video were numbered, for all that are made of them, or for each.
        check: See `sgear.features.extract.extract`.
        missing: Why a video has no video.
    """

    paths: dict[str, Path]
    rates: float | Mapping[str, float] | None = None
    check: Callable[[str, Video], None] | None = None
    missing: dict[str, str] = field(default_factory=dict)


def videos_in(places: Sequence[Path], frame_fps: float | None) -> CorpusVideos:
    """Return the videos in folders, and videos named themselves.

    Raises:
        VideoError: If there are none, or two of one id.
    """
    return CorpusVideos(paths=list_videos(places), rates=frame_fps)


def videos_of_dataset(dataset: DatasetConfig, frame_fps: float | None) -> CorpusVideos:
    """Return the videos of all annotated videos, from where the data set keeps them.

    Rates of numbered images come from the data set unless they are given, and then the length of each video is held
    against what the data set says: a wrong rate shows the future.

    Args:
        dataset: The data set, and where its videos are looked for.
        frame_fps: Rate of all numbered images. Default: that of the data set.

    Raises:
        VideoError: If there is no video at all, two have one id, or a rate is not known.
    """
    video_ids = annotated_videos(all_splits(load_benchmark(dataset)))
    roots = video_roots(dataset)
    videos = find_videos(video_ids, roots, remedy="name other folders with --video-root", allows_missing=True)
    missing = without_video(video_ids, videos, roots)
    if frame_fps is not None:
        return CorpusVideos(paths=videos, rates=frame_fps, missing=missing)
    images = {video_id: path for video_id, path in videos.items() if needs_rate(path)}
    rates, durations_s = image_rates(dataset, images, remedy="give it with --frame-fps")
    return CorpusVideos(paths=videos, rates=rates, check=_length_check(rates, durations_s), missing=missing)


def _length_check(rates: Mapping[str, float], durations_s: Mapping[str, float]) -> Callable[[str, Video], None]:
    def check(video_id: str, video: Video) -> None:
        if video_id in durations_s:
            rate, remedy = rates[video_id], "give the rate with --frame-fps"
            found_s = video.last_pts_s + 1 / rate
            require_stated_length(str(video.path), found_s, durations_s[video_id], rate=rate, remedy=remedy)

    return check
