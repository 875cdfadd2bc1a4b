"""A kitchen on disk: annotations as those of EPIC-KITCHENS-100, videos, and the record of what they were made from.

`kitchen.json` is written first and reserves the folder for one config. Videos appear under their names only when they
are complete, so an interrupted build goes on where it stopped and a complete one is reused.

Class ids are positions in the law's lists of verbs and nouns. Tail classes follow the rule of EPIC-KITCHENS-100: the
rarest classes that together hold at most a fifth of the training segments.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets import Benchmark, DatasetSpec, Places, TextRules
from sgear.datasets.epic import load_epic100
from sgear.errors import ConfigError
from sgear.features import FeatureTable, VideoFeatures
from sgear.files import quoted, write_whole
from sgear.kitchen.law import kitchen_law
from sgear.kitchen.recipes import LAW_VERSION, NOUNS, VERBS
from sgear.kitchen.render import render_video
from sgear.kitchen.world import LOOK_VERSION, KitchenConfig, KitchenVideo, KitchenWorld, make_world, step_features

_TAIL_SHARE = 0.2
# In the order of VERBS and NOUNS.
_VERB_CATEGORIES = ["retrieve", "leave", "access", "block", "clean", "clean", "split", "split", "merge", "merge"]
_NOUN_CATEGORIES = (
    *("appliances", "storage", "cutlery", "cutlery", "crockery", "crockery", "crockery", "crockery"),
    *("cookware", "cookware", "vegetables", "vegetables", "vegetables", "baked goods and grains"),
    *("dairy and eggs", "drinks"),
)


def video_path(root: Path, video: KitchenVideo) -> Path:
    """Return where a video of a built kitchen lies."""
    return root / "videos" / video.participant_id / f"{video.video_id}.mp4"


def build_kitchen(
    root: Path,
    config: KitchenConfig,
    *,
    num_processes: int,
    progress: Callable[[int, int], None] | None = None,
    with_videos: bool = True,
) -> Benchmark:
    """Make a kitchen in a folder, or reuse what is already there.

    Args:
        root: Folder of this kitchen: new, empty, or of the same config.
        config: The world to make.
        num_processes: Videos that are rendered at the same time, >= 1.
        progress: Called with (videos done, videos in all), first for what was already there.
        with_videos: Render the videos; without them the kitchen has annotations and features only.

    Returns:
        The benchmark, read back by the loader of EPIC-KITCHENS-100.

    Raises:
        ValueError: If `num_processes` is less than 1.
        ConfigError: If the folder holds another kitchen or other files.
    """
    if num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    world = make_world(config)
    _reserve(root, world)
    write_annotations(world, root / "annotations")
    if with_videos:
        _render_missing(root, world, num_processes, progress or (lambda done, total: None))
    return replace(load_epic100(root / "annotations"), name="kitchen")


def read_config(root: Path) -> KitchenConfig:
    """Return the config of the kitchen in a folder.

    Raises:
        ConfigError: If the folder holds no kitchen, or one of another version.
    """
    path = root / "kitchen.json"
    if not path.is_file():
        raise ConfigError(f"{root}: no kitchen there; make one with: sgear data kitchen {quoted(root)}")
    try:
        record = json.loads(path.read_text())
        return KitchenConfig(**record["config"])
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path}: not a record of this version's kitchens ({err}); make it again") from err


def load_kitchen_features(root: Path) -> FeatureTable:
    """Return features of all videos of the kitchen in a folder; they are made, not read, in well under a second.

    Raises:
        ConfigError: If the folder holds no kitchen.
    """
    world = make_world(read_config(root))
    names = [video.video_id for video in world.videos]
    return FeatureTable({name: VideoFeatures(*step_features(world, name), f"{root}, video {name}") for name in names})


def _reserve(root: Path, world: KitchenWorld) -> None:
    """Write the record of a new kitchen, or check that the folder holds this very one."""
    config, path = asdict(world.config), root / "kitchen.json"
    versions = {"law_version": LAW_VERSION, "look_version": LOOK_VERSION}
    record = {"config": config, **versions, "digest": world.digest}
    if not path.exists():
        if root.exists() and any(root.iterdir()):
            raise ConfigError(f"{root} holds files that are not of a kitchen; choose a new or empty folder")
        write_whole(path, (json.dumps(record, indent=2) + "\n").encode())
        return
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as err:
        raise ConfigError(f"{path} is not valid JSON ({err}); delete the folder or choose another one") from err
    if found != record:
        different = [name for name in record if not isinstance(found, dict) or found.get(name) != record[name]]
        raise ConfigError(
            f"{root} holds another kitchen: {', '.join(different)} differ from what is asked for "
            f"({config}). Choose another folder, or delete this one."
        )


def _render_missing(root: Path, world: KitchenWorld, num_processes: int, progress: Callable[[int, int], None]) -> None:
    jobs = [(world, video.video_id, video_path(root, video)) for video in world.videos]
    jobs = [job for job in jobs if not job[-1].exists()]
    total = len(world.videos)
    progress(total - len(jobs), total)
    if num_processes == 1 or len(jobs) <= 1:
        for left, job in enumerate(jobs, start=1 - len(jobs)):
            _render(job)
            progress(total + left, total)
        return
    with multiprocessing.get_context("spawn").Pool(min(num_processes, len(jobs))) as pool:
        for left, _ in enumerate(pool.imap_unordered(_render, jobs), start=1 - len(jobs)):
            progress(total + left, total)


def _render(job: tuple[KitchenWorld, str, Path]) -> None:
    render_video(*job)


def write_annotations(world: KitchenWorld, folder: Path) -> None:
    """Write all annotation files of a world; existing ones are replaced.

    Args:
        world: The world.
        folder: Where the files go; it is made.

    Source:
        Columns and file names of the EPIC-KITCHENS-100 annotations, github.com/epic-kitchens.
    """
    trained = np.array([_class_pair(s.action) for video in world.videos if video.is_train for s in video.segments])
    tail_verbs, tail_nouns = _tail_of(trained[:, 0], len(VERBS)), _tail_of(trained[:, 1], len(NOUNS))
    config = world.config
    tables = {
        "train": _segment_rows(world, is_train=True),
        "validation": _segment_rows(world, is_train=False),
        "verb_classes": _class_rows(VERBS, _VERB_CATEGORIES),
        "noun_classes": _class_rows(NOUNS, _NOUN_CATEGORIES),
        "tail_verbs": pl.DataFrame({"verb": tail_verbs}, schema={"verb": pl.Int64}),
        "tail_nouns": pl.DataFrame({"noun": tail_nouns}, schema={"noun": pl.Int64}),
        "unseen_participant_ids_validation": pl.DataFrame(
            {"participant_id": list(world.unseen_participants)}, schema={"participant_id": pl.String}
        ),
        "video_info": pl.DataFrame(
            {
                "video_id": [video.video_id for video in world.videos],
                "duration": [video.duration_s for video in world.videos],
                "fps": float(config.fps),
                "resolution": f"{config.width}x{config.height}",
            }
        ),
    }
    for name, table in tables.items():
        write_whole(folder / f"EPIC_100_{name}.csv", table.write_csv().encode())


def _class_pair(action: int) -> tuple[int, int]:
    verb, noun = kitchen_law().actions[action]
    return VERBS.index(verb), NOUNS.index(noun)


def _segment_rows(world: KitchenWorld, *, is_train: bool) -> pl.DataFrame:
    rows = []
    videos = [video for video in world.videos if video.is_train == is_train]
    for video in sorted(videos, key=lambda video: video.video_id):
        for index, segment in enumerate(video.segments):
            verb_id, noun_id = _class_pair(segment.action)
            verb, noun = VERBS[verb_id], NOUNS[noun_id]
            rows.append(
                {
                    "narration_id": f"{video.video_id}_{index}",
                    "participant_id": video.participant_id,
                    "video_id": video.video_id,
                    "narration_timestamp": _timestamp(segment.start_s, digits=3),
                    "start_timestamp": _timestamp(segment.start_s, digits=2),
                    "stop_timestamp": _timestamp(segment.stop_s, digits=2),
                    "start_frame": math.floor(segment.start_s * world.config.fps),
                    "stop_frame": math.floor(segment.stop_s * world.config.fps),
                    "narration": f"{verb} {noun}",
                    "verb": verb,
                    "verb_class": verb_id,
                    "noun": noun,
                    "noun_class": noun_id,
                    "all_nouns": f"['{noun}']",
                    "all_noun_classes": f"[{noun_id}]",
                }
            )
    return pl.DataFrame(rows)


def _timestamp(time_s: float, *, digits: int) -> str:
    units = round(time_s * 10**digits)
    seconds, fraction = divmod(units, 10**digits)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:0{digits}d}"


def _class_rows(names: Sequence[str], categories: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": list(range(len(names))),
            "key": list(names),
            "instances": [f"['{name}']" for name in names],
            "category": list(categories),
        }
    )


def _tail_of(classes: NDArray[np.int64], num_classes: int) -> list[int]:
    counts = np.bincount(classes, minlength=num_classes)
    rarest_first = np.argsort(counts, kind="stable")
    is_tail = np.cumsum(counts[rarest_first]) <= _TAIL_SHARE * counts.sum()
    return sorted(rarest_first[is_tail].tolist())


DATASET = DatasetSpec(
    name="kitchen",
    load=lambda folder, split, level: replace(load_epic100(folder), name="kitchen"),
    places=Places(
        annotations=("kitchen/annotations",),
        holds="EPIC_100_verb_classes.csv",
        inner=("annotations",),
        source="'sgear data kitchen FOLDER', which renders one",
    ),
    corpus=None,
    whole_videos=False,
    text_rules=TextRules(),
    headline="recall5",
    own_features={"oracle": lambda folder, split: load_kitchen_features(folder)},
)
