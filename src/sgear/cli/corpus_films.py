"""Films to extract features from: those in folders, or those of a data set, found and checked as training does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import require_stated_length
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.sources import film_roots, picture_rates, without_film
from sgear.video.base import Film
from sgear.video.find import find_films, list_films, needs_rate


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
    missing = without_film(video_ids, films, roots)
    if frame_fps is not None:
        return CorpusFilms(paths=films, rates=frame_fps, missing=missing)
    pictures = {video_id: path for video_id, path in films.items() if needs_rate(path)}
    rates, durations_s = picture_rates(dataset, pictures, remedy="give it with --frame-fps")
    return CorpusFilms(paths=films, rates=rates, check=_length_check(rates, durations_s), missing=missing)


def _length_check(rates: Mapping[str, float], durations_s: Mapping[str, float]) -> Callable[[str, Film], None]:
    def check(video_id: str, film: Film) -> None:
        if video_id in durations_s:
            rate, remedy = rates[video_id], "give the rate with --frame-fps"
            found_s = film.last_pts_s + 1 / rate
            require_stated_length(str(film.path), found_s, durations_s[video_id], rate=rate, remedy=remedy)

    return check
