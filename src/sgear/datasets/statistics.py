"""Counts that tell whether the right files were read: sizes, classes, subsets, and what no model can know.

The counts of a split with labels and of one without stand side by side; whatever needs labels is 0 in the latter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from sgear.datasets.benchmark import Benchmark
from sgear.segments import SegmentTable
from sgear.taxonomy import FIELDS, Field
from sgear.timing import TIME_TOLERANCE_S, observable

_LONG_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """Counts of one split.

    Args:
        num_segments: Segments M.
        num_videos: Videos.
        num_participants: Participants.
        num_labelled: Segments with an action class.
        num_classes: Classes of each field that occur.
        num_blind: Segments before which nothing can be seen at the anticipation time.
        num_overlapping: Segments that share time with another one of their video.
        median_length_s: Median length in seconds, 0 without segments.
        mean_length_s: Mean length in seconds, 0 without segments.
        longer_than_1s: Share of segments longer than 1 s, in [0, 1].
        median_span_s: Median over videos of the time from the first start to the last stop, in seconds.
        max_span_s: The longest of these times, in seconds.
    """

    num_segments: int
    num_videos: int
    num_participants: int
    num_labelled: int
    num_classes: dict[Field, int]
    num_blind: int
    num_overlapping: int
    median_length_s: float
    mean_length_s: float
    longer_than_1s: float
    median_span_s: float
    max_span_s: float


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Counts of a benchmark.

    Args:
        name: Name of the benchmark.
        tau_a_s: Anticipation time of `num_blind`, in seconds.
        num_classes: Size of the vocabulary of each field.
        splits: `train`, `validation`, the test splits, and `unscored` where there is one.
        num_untrained_classes: Action classes of the validation split that no training segment has.
        num_untrained_segments: Validation segments of these classes.
        num_single_classes: Action classes with exactly one validation segment.
        num_tail_classes: Classes of each field in the validation split that count as tail.
        num_in_subset: Validation segments of each subset, for each field.
        num_many_shot: Many-shot classes of each field; empty without lists.
    """

    name: str
    tau_a_s: float
    num_classes: dict[Field, int]
    splits: dict[str, SplitStatistics]
    num_untrained_classes: int
    num_untrained_segments: int
    num_single_classes: int
    num_tail_classes: dict[Field, int]
    num_in_subset: dict[str, dict[Field, int]]
    num_many_shot: dict[Field, int]

    def to_dict(self) -> dict:
        """Return a plain dict, JSON-ready."""
        return asdict(self)


def describe(benchmark: Benchmark, *, tau_a_s: float | None = None) -> Statistics:
    """Count what is in a benchmark.

    Args:
        benchmark: The data set.
        tau_a_s: Anticipation time in seconds, > 0. Default: the one usual for the data set.

    Raises:
        ValueError: If `tau_a_s` is not positive and finite.
    """
    gap_s = benchmark.usual_tau_a_s if tau_a_s is None else tau_a_s
    if not (np.isfinite(gap_s) and gap_s > 0):
        raise ValueError(f"tau_a_s must be positive and finite, got {gap_s}")
    tables = {"train": benchmark.train, "validation": benchmark.validation, **benchmark.tests}
    if benchmark.unscored is not None:
        tables["unscored"] = benchmark.unscored
    counts = benchmark.validation.action_counts()
    is_untrained = (counts > 0) & ~benchmark.trained_action_mask
    return Statistics(
        name=benchmark.name,
        tau_a_s=gap_s,
        num_classes={field: len(benchmark.taxonomy.names(field)) for field in FIELDS},
        splits={name: describe_split(table, tau_a_s=gap_s) for name, table in tables.items()},
        num_untrained_classes=int(is_untrained.sum()),
        num_untrained_segments=int(counts[is_untrained].sum()),
        num_single_classes=int((counts == 1).sum()),
        num_tail_classes={field: _num_tail_classes(benchmark, field) for field in FIELDS},
        num_in_subset={
            name: {field: int(mask.sum()) for field, mask in by_field.items()}
            for name, by_field in benchmark.subset_masks.items()
        },
        num_many_shot={field: len(ids) for field, ids in benchmark.many_shot_ids.items()},
    )


def describe_split(segments: SegmentTable, *, tau_a_s: float) -> SplitStatistics:
    """Count what is in one split.

    Args:
        segments: The split.
        tau_a_s: Anticipation time in seconds.
    """
    starts_s, stops_s = segments.column("start_s"), segments.column("stop_s")
    lengths_s = stops_s - starts_s
    spans_s = segments.frame.group_by("video_id").agg(pl.col("stop_s").max() - pl.col("start_s").min())["stop_s"]
    has_any = len(segments) > 0
    return SplitStatistics(
        num_segments=len(segments),
        num_videos=segments.num_videos,
        num_participants=segments.frame["participant_id"].n_unique(),
        num_labelled=int((segments.frame["action_id"] >= 0).sum()),
        num_classes={field: len(_present(segments, field)) for field in FIELDS},
        num_blind=int((~observable(starts_s - tau_a_s)).sum()),
        num_overlapping=num_overlapping(segments),
        median_length_s=float(np.median(lengths_s)) if has_any else 0.0,
        mean_length_s=float(np.mean(lengths_s)) if has_any else 0.0,
        longer_than_1s=float(np.mean(lengths_s > _LONG_S + TIME_TOLERANCE_S)) if has_any else 0.0,
        median_span_s=float(np.median(spans_s.to_numpy())) if has_any else 0.0,
        max_span_s=float(np.max(spans_s.to_numpy(), initial=0.0)),
    )


def num_overlapping(segments: SegmentTable) -> int:
    """Return how many segments share more than an instant with another segment of their video."""
    video = "video_id"
    ordered = segments.frame.sort(video, "start_s", "stop_s")
    with_earlier = pl.col("start_s") < pl.col("stop_s").cum_max().shift(1).over(video)
    with_later = pl.col("start_s").shift(-1).over(video) < pl.col("stop_s")
    is_shared = with_earlier.fill_null(value=False) | with_later.fill_null(value=False)
    return ordered.select(is_shared.sum()).item()


def _present(segments: SegmentTable, field: Field) -> set[int]:
    ids = segments.frame[f"{field}_id"].unique()
    return set(ids.filter(ids >= 0).to_list())


def _num_tail_classes(benchmark: Benchmark, field: Field) -> int:
    tail: dict[Field, set[int]] = {
        "verb": set(benchmark.tail_verb_ids),
        "noun": set(benchmark.tail_noun_ids),
        "action": set(np.flatnonzero(benchmark.tail_action_mask).tolist()),
    }
    return len(_present(benchmark.validation, field) & tail[field])
