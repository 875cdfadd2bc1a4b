"""A kitchen world as the official EPIC-KITCHENS-100 files, and as a `Benchmark` without any file.

Class ids are positions in the law's lists of verbs and nouns. Tail classes follow the rule of EPIC-KITCHENS-100: the
rarest classes that together hold at most a fifth of the training segments.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic_files import published_order
from sgear.kitchen.law import kitchen_law
from sgear.kitchen.recipes import NOUNS, VERBS
from sgear.kitchen.world import KitchenFilm, KitchenWorld
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

_TAIL_SHARE = 0.2
_VERB_CATEGORIES = {
    "take": "retrieve",
    "put": "leave",
    "open": "access",
    "close": "block",
    "wash": "clean",
    "rinse": "clean",
    "cut": "split",
    "peel": "split",
    "pour": "merge",
    "stir": "merge",
}
_NOUN_CATEGORIES = {
    "fridge": "appliances",
    "drawer": "storage",
    "knife": "cutlery",
    "spoon": "cutlery",
    "cup": "crockery",
    "glass": "crockery",
    "plate": "crockery",
    "bowl": "crockery",
    "pan": "cookware",
    "pot": "cookware",
    "tomato": "vegetables",
    "carrot": "vegetables",
    "onion": "vegetables",
    "bread": "baked goods and grains",
    "milk": "dairy and eggs",
    "juice": "drinks",
}


def write_annotations(world: KitchenWorld, folder: Path) -> None:
    """Write all annotation files of a world; existing ones are replaced.

    Args:
        world: The world.
        folder: Where the files go; it is made.

    Source:
        Columns and file names of the EPIC-KITCHENS-100 annotations, github.com/epic-kitchens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tail_verbs, tail_nouns = _tail_classes(world)
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
                "video_id": [film.video_id for film in world.films],
                "duration": [film.duration_s for film in world.films],
                "fps": float(config.fps),
                "resolution": f"{config.width}x{config.height}",
            }
        ),
    }
    for name, table in tables.items():
        path = folder / f"EPIC_100_{name}.csv"
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        table.write_csv(partial)
        partial.replace(path)


def world_benchmark(world: KitchenWorld) -> Benchmark:
    """Return the benchmark of a world without writing or rendering anything."""
    present = {_class_pair(segment.action) for film in world.films for segment in film.segments}
    taxonomy = Taxonomy(verbs=VERBS, nouns=NOUNS, action_pairs=published_order(present))
    tail_verbs, tail_nouns = _tail_classes(world)
    return Benchmark(
        name="kitchen",
        taxonomy=taxonomy,
        train=_segment_table(world, taxonomy, is_train=True),
        validation=_segment_table(world, taxonomy, is_train=False),
        unseen_participants=frozenset(world.unseen_participants),
        tail_verb_ids=frozenset(tail_verbs),
        tail_noun_ids=frozenset(tail_nouns),
    )


def _class_pair(action: int) -> tuple[int, int]:
    verb, noun = kitchen_law().actions[action]
    return VERBS.index(verb), NOUNS.index(noun)


def _films(world: KitchenWorld, *, is_train: bool) -> list[KitchenFilm]:
    films = [film for film in world.films if film.is_train == is_train]
    return sorted(films, key=lambda film: film.video_id)


def _segment_table(world: KitchenWorld, taxonomy: Taxonomy, *, is_train: bool) -> SegmentTable:
    rows = []
    for film in _films(world, is_train=is_train):
        for index, segment in enumerate(film.segments):
            verb_id, noun_id = _class_pair(segment.action)
            times = {"start_s": segment.start_s, "stop_s": segment.stop_s}
            names = {"uid": f"{film.video_id}_{index}", "participant_id": film.participant_id}
            ids = {"verb_id": verb_id, "noun_id": noun_id, "action_id": taxonomy.action_of_pair[verb_id, noun_id]}
            rows.append({**names, "video_id": film.video_id, **times, **ids})
    return SegmentTable(pl.DataFrame(rows), taxonomy, origin="kitchen, " + ("train" if is_train else "validation"))


def _segment_rows(world: KitchenWorld, *, is_train: bool) -> pl.DataFrame:
    rows = []
    for film in _films(world, is_train=is_train):
        for index, segment in enumerate(film.segments):
            verb_id, noun_id = _class_pair(segment.action)
            verb, noun = VERBS[verb_id], NOUNS[noun_id]
            rows.append(
                {
                    "narration_id": f"{film.video_id}_{index}",
                    "participant_id": film.participant_id,
                    "video_id": film.video_id,
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


def _class_rows(names: tuple[str, ...], categories: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": list(range(len(names))),
            "key": list(names),
            "instances": [f"['{name}']" for name in names],
            "category": [categories[name] for name in names],
        }
    )


def _tail_classes(world: KitchenWorld) -> tuple[list[int], list[int]]:
    pairs = np.array([_class_pair(s.action) for film in world.films if film.is_train for s in film.segments])
    return _tail_of(pairs[:, 0], len(VERBS)), _tail_of(pairs[:, 1], len(NOUNS))


def _tail_of(classes: NDArray[np.int64], num_classes: int) -> list[int]:
    counts = np.bincount(classes, minlength=num_classes)
    rarest_first = np.argsort(counts, kind="stable")
    is_tail = np.cumsum(counts[rarest_first]) <= _TAIL_SHARE * counts.sum()
    return sorted(int(index) for index in rarest_first[is_tail])
