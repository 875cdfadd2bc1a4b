"""Which training clips stand for a class, and exemplars straight from stored features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.errors import FeatureError, PrototypeError
from sgear.features import FeatureTable
from sgear.lineage import UNKNOWN, Lineage
from sgear.prototypes.visual import VisualPrototypes, class_means
from sgear.segments import SegmentTable


def choose_exemplars(
    actions: NDArray[np.integer], *, max_per_class: int | None = None, seed: int = 0
) -> NDArray[np.bool_]:
    """Choose up to `max_per_class` clips of each action at random.

    The draw of one class does not depend on the others.

    Args:
        actions: Action of each clip [M]; clips of unknown action, -1, are never chosen.
        max_per_class: Largest number of exemplars. Default: all.
        seed: Seed of the draw.

    Returns:
        Which clips are exemplars [M].

    Raises:
        ValueError: If `max_per_class` is below 1.
    """
    if max_per_class is not None and max_per_class < 1:
        raise ValueError(f"max_per_class must be at least 1, got {max_per_class}")
    known = actions >= 0
    if max_per_class is None:
        return known
    chosen = np.zeros(len(actions), dtype=np.bool_)
    for action in np.unique(actions[known]).tolist():
        rows = np.flatnonzero(actions == action)
        rng = np.random.default_rng([seed, action])
        chosen[rng.permutation(rows)[:max_per_class]] = True
    return chosen


def class_means_of_features(
    table: FeatureTable,
    segments: SegmentTable,
    *,
    origin: str,
    max_exemplars: int | None = None,
    seed: int = 0,
    lineage: Lineage = UNKNOWN,
) -> VisualPrototypes:
    """Make visual prototypes of stored features, without any model.

    The exemplar of a segment is the mean of the rows seen during it, or of the row nearest to its centre where it is
    shorter than their distance. Every exemplar weighs the same, however long its segment.

    Args:
        table: Features.
        segments: Training segments.
        origin: Name of the features, kept in the file.
        max_exemplars: Largest number of exemplars of a class. Default: all.
        seed: Seed of their choice.
        lineage: Videos of `segments`.

    Raises:
        FeatureError: If a video has no features, or they end long before a segment.
        PrototypeError: If no segment has a known action.
    """
    actions = segments.column("action_id")
    chosen = segments.take(choose_exemplars(actions, max_per_class=max_exemplars, seed=seed))
    if not len(chosen):
        raise PrototypeError(f"{segments.origin}: no segment with a known action, so there is nothing to average")
    exemplars = np.stack([_exemplar(table, row.video_id, row.start_s, row.stop_s) for row in chosen])
    return class_means(
        torch.from_numpy(exemplars),
        torch.tensor(chosen.column("action_id")),
        segments.taxonomy,
        run=origin,
        seed=seed,
        lineage=lineage,
        provenance={"max_exemplars": max_exemplars, "seed": seed},
    )


def _exemplar(table: FeatureTable, video_id: str, start_s: float, stop_s: float) -> NDArray[np.float32]:
    video = table[video_id]
    rows = video.features[(video.times_s >= start_s) & (video.times_s < stop_s)]
    if len(rows):
        return rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    distance_s = np.abs(video.times_s - (start_s + stop_s) / 2)
    nearest = int(distance_s.argmin())
    if distance_s[nearest] > max(video.period_s, stop_s - start_s):
        raise FeatureError(
            f"{video.origin}: the action from {start_s:.3f} to {stop_s:.3f} s of {video_id} has no features; they "
            f"cover {video.first_s:.3f} to {video.times_s[-1]:.3f} s. The file looks truncated or belongs to another "
            "video"
        )
    return video.features[nearest]
