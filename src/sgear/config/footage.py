"""`dataset.video_roots` and the settings of `source` for films -> a reader of frames."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

from sgear.config.schema import DatasetConfig, ExperimentConfig
from sgear.data.frames import CheckedLengths, FrameReader, PartialFrames, cache_frames, model_size
from sgear.data.unreadable import SKIP_EFFECT, SKIP_HINT, checked_on_error
from sgear.datasets import (
    annotation_folder,
    dataset_folder,
    numbering_rates,
    read_video_info,
    stated_lengths,
    video_places,
)
from sgear.errors import ConfigError, VideoError
from sgear.models.pretrained import Preprocessing
from sgear.video.corpus import find_films, needs_rate
from sgear.video.opening import Backend
from sgear.video.pool import FilmPool

READINGS = ("cache", "films")


def film_roots(config: DatasetConfig) -> tuple[Path, ...]:
    """Return the folders in which films are looked for, in this order.

    Raises:
        VideoError: If a folder of `video_roots` does not exist.
    """
    if not config.video_roots:
        return video_places(config.name, config.root)
    roots = tuple(map(Path, config.video_roots))
    for root in roots:
        if not root.is_dir():
            raise VideoError(
                f"dataset.video_roots: {root}: no such folder of videos. Check the path (of a run: --video-root)."
            )
    return roots


def open_frames(
    config: ExperimentConfig,
    video_ids: Sequence[str],
    preprocessing: Preprocessing,
    *,
    found: dict[str, Path] | None = None,
) -> FrameReader:
    """Find the film of each video and return what reads their frames at the size the model needs.

    Args:
        config: The experiment.
        video_ids: Videos that will be read.
        preprocessing: Size the model reads.
        found: Takes the film of each video.

    Raises:
        ConfigError: If a setting is unknown or has no effect.
        VideoError: If films are missing or cannot be opened (with `on_error=skip`: if all of them are), or a film of
            pictures has no known rate.
    """
    source = config.source
    if source.reading not in READINGS:
        raise ConfigError(f"source.reading={source.reading!r} is unknown; choose {', '.join(READINGS)}")
    if source.decoder not in get_args(Backend):
        raise ConfigError(f"source.decoder={source.decoder!r} is unknown; choose {', '.join(get_args(Backend))}")
    if source.frame_fps < 0:
        raise ConfigError(f"source.frame_fps={source.frame_fps:g} must be positive, or 0 for the rate of the data set")
    films, unreadable = _find(config, video_ids)
    if found is not None:
        found.update(films)
    pictures = [video_id for video_id, path in films.items() if needs_rate(path)]
    rates, durations_s = _rates(config, films, pictures)
    frames: FrameReader
    if source.reading == "films":
        backend = cast(Backend, source.decoder)
        frames = FilmPool(films, size=model_size(preprocessing), frame_fps=rates, backend=backend)
    else:
        root = dataset_folder(config.dataset.name, config.dataset.root) / "cache"
        frames, failures = cache_frames(films, root, preprocessing, fps=source.cache_fps, frame_fps=rates)
        unreadable |= failures
    if durations_s:
        frames = CheckedLengths(frames, durations_s, rates)
    if not unreadable:
        return frames
    first = next(video_id for video_id in video_ids if video_id in unreadable)
    problem = f"{len(unreadable)} of {len(video_ids)} films cannot be read, first {first!r}: {unreadable[first]}"
    if len(unreadable) == len(video_ids):
        raise VideoError(problem)
    if checked_on_error(source.on_error) == "stop":
        raise VideoError(f"{problem.rstrip('.')}. {SKIP_HINT}")
    return PartialFrames(frames, unreadable)


def _find(config: ExperimentConfig, video_ids: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the film of each video, and with `on_error=skip` why some have none."""
    roots = film_roots(config.dataset)
    skips = checked_on_error(config.source.on_error) == "skip"
    films = find_films(
        video_ids,
        roots,
        remedy="name other folders in dataset.video_roots (of a run: --video-root)",
        remedy_for_some="" if skips else f"set source.on_error=skip, which {SKIP_EFFECT}",
        allows_missing=skips,
    )
    return films, without_film(video_ids, films, roots)


def without_film(video_ids: Sequence[str], films: Container[str], roots: Sequence[Path]) -> dict[str, str]:
    """Return for each video that has no film why it cannot be read.

    Args:
        video_ids: The videos.
        films: Videos that have one.
        roots: Where films were looked for.
    """
    searched = ", ".join(str(root) for root in roots if root.is_dir())
    return {name: f"no film of video {name!r} under {searched}" for name in video_ids if name not in films}


def _rates(
    config: ExperimentConfig, films: Mapping[str, Path], pictures: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the rate of each film of pictures, and the length of those of which it is known and to be checked."""
    given, dataset = config.source.frame_fps, config.dataset
    if not pictures and given:
        raise ConfigError(f"source.frame_fps={given:g} has no effect: all {len(films)} films are video files")
    if not pictures:
        return {}, {}
    if given:
        lengths_s = stated_lengths(dataset.name, Path(dataset.root) if dataset.root else None)
        rates = dict.fromkeys(pictures, given)
    else:
        remedy = "set source.frame_fps to the frames per second of their numbering"
        rates, lengths_s = picture_rates(dataset, {video_id: films[video_id] for video_id in pictures}, remedy=remedy)
    is_checked = config.source.check_clock
    return rates, {name: lengths_s[name] for name in pictures if is_checked and name in lengths_s}


def picture_rates(
    dataset: DatasetConfig, pictures: Mapping[str, Path], *, remedy: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how many pictures of a film there are in a second, and its length where that is known to be checked.

    Args:
        dataset: The data set, which says so.
        pictures: Films that are made of pictures.
        remedy: What to do where it does not.

    Raises:
        VideoError: If the rate of a film is not known.
    """
    info = read_video_info(annotation_folder(dataset.name, Path(dataset.root) if dataset.root else None))
    rates = numbering_rates(dataset.name, list(pictures), info)
    unknown = [video_id for video_id in pictures if video_id not in rates]
    if unknown:
        raise VideoError(
            f"{pictures[unknown[0]]}: pictures do not say at which rate they were taken, and {dataset.name} does not "
            f"say it of {len(unknown)} of {len(pictures)} such films, first {unknown[0]!r}; {remedy}"
        )
    return rates, {video_id: info[video_id].duration_s for video_id in pictures if video_id in info}
