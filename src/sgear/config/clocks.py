"""How long videos last, and whether what is stored of them lasts as long: a clock that runs fast shows the future."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sgear.config.footage import film_roots
from sgear.config.schema import DatasetConfig, ExperimentConfig
from sgear.data.verify import all_splits
from sgear.datasets import Benchmark, dataset_folder, dataset_spec, stated_lengths
from sgear.errors import FeatureError, VideoError
from sgear.features.clock import ClockFault, TableOnDisk, clock_faults, open_video
from sgear.features.store import MappedVideo
from sgear.video.corpus import find_films, needs_rate
from sgear.video.opening import open_film

_UNCHECKED = "so it cannot be checked that nothing later than tau_a before an action was seen"


def lengths_of_dataset(dataset: DatasetConfig) -> dict[str, float]:
    """Return the length of each video in seconds, as far as the data set states it.

    Raises:
        SgearError: If its files are damaged.
    """
    spec = dataset_spec(dataset.name)
    if spec.own_clock:
        # Times count from the beginning of its labels, not of its videos; its own features have a row for each.
        own_features = next(iter(spec.own_features.values()))
        table = own_features(dataset_folder(dataset.name, dataset.root), dataset.split)
        return {video_id: table[video_id].last_s + table[video_id].period_s for video_id in table.video_ids}
    return stated_lengths(dataset.name, Path(dataset.root) if dataset.root else None)


def films_at_hand(dataset: DatasetConfig, video_ids: Sequence[str]) -> dict[str, Path]:
    """Return the films of videos, as far as they lie where the data set keeps its films."""
    try:
        return find_films(video_ids, film_roots(dataset), allows_missing=True) if video_ids else {}
    except VideoError:
        # There is none, or it is not clear which; nobody asked for their pictures.
        return {}


def known_lengths(
    stated_s: Mapping[str, float], tables: Sequence[TableOnDisk], films: Mapping[str, Path], video_ids: Sequence[str]
) -> dict[str, float]:
    """Return the length of videos in seconds: what the data set states, a store has of its films, or a film shows.

    Args:
        stated_s: See `lengths_of_dataset`.
        tables: Stores and LMDBs.
        films: See `films_at_hand`.
        video_ids: Videos to look at.
    """
    known: dict[str, float] = {}
    for video_id in video_ids:
        stored = (video.film_s for table in tables if isinstance(video := open_video(table, video_id), MappedVideo))
        length_s = stated_s.get(video_id) or max(stored, default=0.0)
        if not length_s and video_id in films:
            length_s = _film_s(films[video_id])
        known |= {video_id: length_s} if length_s else {}
    return known


def _film_s(path: Path) -> float:
    """Return the length of a film in seconds; 0 where it does not tell."""
    try:
        if needs_rate(path):
            return 0.0
        with open_film(path) as film:
            return film.end_s
    except VideoError:
        return 0.0


def faults_of(
    table: TableOnDisk, benchmark: Benchmark, video_ids: Sequence[str], lengths_s: Mapping[str, float]
) -> tuple[list[ClockFault], list[str]]:
    """Return which videos of a table do not last as long as they should, and of which that is not known.

    A video is at least as long as its last annotated action says.
    """
    least_s: dict[str, float] = {}
    for segments in all_splits(benchmark).values():
        for video_id, stop_s in zip(segments.column("video_id"), segments.column("stop_s"), strict=True):
            least_s[video_id] = max(float(stop_s), least_s.get(video_id, 0.0))
    return clock_faults(table, video_ids, lengths_s, least_s)


def check_clocks(
    config: ExperimentConfig,
    benchmark: Benchmark,
    video_ids: Sequence[str],
    tables: Mapping[str, TableOnDisk],
    lengths_s: Mapping[str, float],
) -> list[str]:
    """Hold the clocks of stores and LMDBs against the lengths of videos.

    Returns:
        What must be said with every number: which clocks could not be checked.

    Raises:
        FeatureError: If rows do not last as long as their videos.
    """
    caveats = []
    for name, table in tables.items():
        faults, unknown = faults_of(table, benchmark, video_ids, lengths_s)
        if faults and config.source.check_clock:
            raise FeatureError(f"features {name!r}: {faults_text(faults)}")
        # Without any number: each split has another, and it is said once for all.
        reason = "rows do not last as long as the videos" if faults else "the lengths of videos are not known"
        caveats += [f"clock unverified: of features {name!r}, {reason}, {_UNCHECKED}"] if faults or unknown else []
    return caveats


def unchecked_pictures(config: ExperimentConfig, films: Mapping[str, Path]) -> list[str]:
    """Return what must be said with every number where pictures are read at a rate that nothing confirms."""
    source = config.source
    pictures = {video_id for video_id, path in films.items() if needs_rate(path)} if source.kind == "video" else set()
    if source.check_clock and (not source.frame_fps or lengths_of_dataset(config.dataset).keys() >= pictures):
        return []
    rate = f" at source.frame_fps={source.frame_fps:g}" if source.frame_fps else ""
    return [f"clock unverified: of pictures read{rate}, {_UNCHECKED}"] if pictures else []


def faults_text(faults: Sequence[ClockFault]) -> str:
    """Return in words what is wrong with the clock of stored features, and what to do."""
    worst = max(faults, key=lambda fault: fault.apart_s)
    return (
        f"the rows of {len(faults)} videos do not last as long as the videos, most of all {worst}. If they were taken "
        "at another rate than was said, import them again with the right --fps (LMDB: set source.lmdb_fps, --fps). If "
        "rows are missing, extract or copy them again. If they end there on purpose, source.check_clock=false goes on, "
        "and the result says so"
    )
