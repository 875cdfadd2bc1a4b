"""Films to extract features from: those in folders, or those of a data set, found and checked as training does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgear.config.build import load_benchmark
from sgear.config.footage import film_roots
from sgear.config.schema import DatasetConfig
from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets.registry import annotation_folder
from sgear.datasets.video_info import LENGTH_TOLERANCE_S, VideoInfo, numbering_rates, read_video_info
from sgear.errors import VideoError
from sgear.video.corpus import find_films, list_films, needs_rate
from sgear.video.film import Film


@dataclass(frozen=True, kw_only=True)
class CorpusFilms:
    """Films of a corpus.

    Args:
        paths: Film of each video id.
        rates: Rate at which the pictures of a film were numbered, for all that are made of them, or for each.
        check: See `sgear.features.extract.extract`.
        missing: Why a video has no film.
    """

    paths: dict[str, Path]
    rates: float | Mapping[str, float] | None = None
    check: Callable[[str, Film], None] | None = None
    missing: dict[str, str] = field(default_factory=dict)


def films_in(places: Sequence[Path], frame_fps: float | None) -> CorpusFilms:
    """Return the films in folders, and films named themselves.

    Raises:
        VideoError: If there are none, or two of one id.
    """
    return CorpusFilms(paths=list_films(places), rates=frame_fps)


def films_of_dataset(dataset: DatasetConfig, frame_fps: float | None) -> CorpusFilms:
    """Return the films of all annotated videos, from where the data set keeps them.

    Rates of numbered pictures come from the data set unless they are given, and then the length of each film is held
    against what the data set says: a wrong rate shows the future.

    Args:
        dataset: The data set, and where its films are looked for.
        frame_fps: Rate of all numbered pictures. Default: that of the data set.

    Raises:
        VideoError: If there is no film at all, two have one id, or a rate is not known.
    """
    video_ids = annotated_videos(all_splits(load_benchmark(dataset)))
    roots = film_roots(dataset)
    films = find_films(video_ids, roots, remedy="name other folders with --video-root", allows_missing=True)
    searched = ", ".join(str(root) for root in roots if root.is_dir())
    missing = {name: f"no film of video {name!r} under {searched}" for name in video_ids if name not in films}
    if frame_fps is not None:
        return CorpusFilms(paths=films, rates=frame_fps, missing=missing)
    info = read_video_info(annotation_folder(dataset.name, Path(dataset.root) if dataset.root else None))
    pictures = [video_id for video_id, path in films.items() if needs_rate(path)]
    rates = numbering_rates(dataset.name, pictures, info)
    unknown = [video_id for video_id in pictures if video_id not in rates]
    if unknown:
        raise VideoError(
            f"{films[unknown[0]]}: pictures do not say at which rate they were taken, and {dataset.name} does not say "
            f"it of {len(unknown)} of {len(pictures)} such films, first {unknown[0]!r}; give it with --frame-fps"
        )
    return CorpusFilms(paths=films, rates=rates, check=_length_check(rates, info), missing=missing)


def _length_check(rates: Mapping[str, float], info: Mapping[str, VideoInfo]) -> Callable[[str, Film], None]:
    def check(video_id: str, film: Film) -> None:
        if video_id not in rates or video_id not in info:
            return
        rate, stated_s = rates[video_id], info[video_id].duration_s
        found_s = film.last_pts_s + 1 / rate
        if abs(found_s - stated_s) > LENGTH_TOLERANCE_S:
            raise VideoError(
                f"{film.path}: its pictures, {rate:g} to the second, last {found_s:.3f} s, but the video info csv says "
                f"{stated_s:.3f} s: pictures are missing at the end, or they were numbered at about "
                f"{rate * found_s / stated_s:.2f} to the second. Copy them again, or give the rate with --frame-fps"
            )

    return check
