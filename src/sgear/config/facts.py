"""What is known of the videos of an experiment beside their pictures: what each is known by, and how long it lasts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgear.config.clocks import check_clocks, films_at_hand, known_lengths, lengths_of_dataset, unchecked_pictures
from sgear.config.schema import ExperimentConfig
from sgear.config.stored import tables_on_disk
from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import Benchmark, corpus_of
from sgear.features import StoredFeatures
from sgear.features.clock import TableOnDisk, open_video
from sgear.features.opening import LMDB_FILE
from sgear.features.store import FeatureStore, MappedVideo
from sgear.lineage import FILM, ROWS
from sgear.video.identity import film_content


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of the videos that an experiment reads.

    Args:
        contents: What a video is known by under any name; see `sgear.lineage.TrainingPart`.
        caveats: What must be said with every number: which clocks could not be checked.
    """

    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def learn_facts(
    config: ExperimentConfig,
    benchmark: Benchmark,
    video_ids: Sequence[str],
    *,
    films: Mapping[str, Path] | None = None,
    features: StoredFeatures | None = None,
) -> VideoFacts:
    """Look at films and stored features, and hold the clocks of stores and LMDBs against the lengths of the videos.

    Args:
        config: The experiment.
        benchmark: Its data.
        video_ids: Videos that will be read.
        films: Films that they will be read from.
        features: Stored features that they will be read from.

    Raises:
        FeatureError: If rows do not last as long as their videos.
    """
    tables = tables_on_disk(features, config.source.features)
    known = annotated_videos(all_splits(benchmark))
    contents = contents_of_stores(tables.values(), known)
    stated_s = lengths_of_dataset(config.dataset) if tables else {}
    # Names say which film it is where data sets are published, and to list the pictures of their films takes long.
    is_own, films = corpus_of(config.dataset.name) is None, dict(films or {})
    asked = known if is_own else [video_id for video_id in video_ids if tables and video_id not in stated_s]
    films |= films_at_hand(config.dataset, [video_id for video_id in asked if video_id not in films])
    for video_id, path in films.items():
        contents[video_id] += [f"{FILM}{digits}"] if (digits := film_content(path)) else []
    caveats = unchecked_pictures(config, films)
    if tables:
        lengths_s = known_lengths(stated_s, list(tables.values()), films, video_ids)
        caveats += check_clocks(config, benchmark, video_ids, tables, lengths_s)
    whole = {video_id: tuple(dict.fromkeys(each)) for video_id, each in contents.items() if each}
    return VideoFacts(contents=whole, caveats=tuple(caveats))


def contents_of_stores(tables: Iterable[TableOnDisk], video_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return what stores and LMDBs tell of videos by which they are known."""
    contents: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        # To read the rows of an LMDB would take as long as to copy it.
        whole = "" if isinstance(table, FeatureStore) else film_content(_lmdb_file(table.path))
        for video_id in video_ids:
            video = open_video(table, video_id)
            if isinstance(video, MappedVideo):
                contents[video_id] += [f"{ROWS}{video.fingerprint}", *([f"{FILM}{video.film}"] if video.film else [])]
            elif video is not None:
                told = f"{whole} {video_id} {video.first} {video.last}"
                contents[video_id].append(f"{ROWS}{hashlib.sha256(told.encode()).hexdigest()[:16]}")
    return contents


def _lmdb_file(path: Path) -> Path:
    return path / LMDB_FILE if path.is_dir() else path
