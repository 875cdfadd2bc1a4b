"""Counts of a benchmark, by hand and against the published ones."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.datasets import Benchmark
from sgear.datasets.egtea import load_egtea
from sgear.datasets.epic import load_epic100
from sgear.datasets.statistics import Statistics, describe, num_overlapping
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy(
    verbs=("take", "cut", "put"), nouns=("knife", "onion"), action_pairs=((0, 0), (0, 1), (1, 1), (2, 0))
)


def segments(*rows: tuple[str, float, float, int]) -> SegmentTable:
    """Return segments of (video, start, stop, action)."""
    data = [
        {
            "uid": f"{video}_{index}",
            "participant_id": video.split("_")[0],
            "video_id": video,
            "start_s": start_s,
            "stop_s": stop_s,
            "verb_id": TAXONOMY.action_pairs[action][0] if action >= 0 else -1,
            "noun_id": TAXONOMY.action_pairs[action][1] if action >= 0 else -1,
            "action_id": action,
        }
        for index, (video, start_s, stop_s, action) in enumerate(rows)
    ]
    return SegmentTable(pl.DataFrame(data), TAXONOMY, origin="test")


BENCHMARK = Benchmark(
    name="small",
    taxonomy=TAXONOMY,
    train=segments(("P1_1", 0.0, 1.0, 0), ("P1_1", 4.0, 6.0, 0), ("P2_1", 1.0, 2.5, 1)),
    validation=segments(("P3_1", 0.5, 2.0, 0), ("P3_1", 1.0, 1.5, 2), ("P3_1", 2.0, 3.0, 3), ("P3_2", 9.0, 10.0, 3)),
    unseen_participants=frozenset({"P3"}),
    tail_verb_ids=frozenset({2}),
    tests={"test": segments(("P4_1", 0.0, 2.0, -1))},
)


def test_classes_that_never_occur_in_training_are_counted() -> None:
    found = describe(BENCHMARK)
    assert (found.num_untrained_classes, found.num_untrained_segments, found.num_single_classes) == (2, 3, 2)


def test_a_segment_at_tau_a_has_one_frame_to_see() -> None:
    assert describe(BENCHMARK).splits["validation"].num_blind == 1
    assert describe(BENCHMARK, tau_a_s=0.5).splits["validation"].num_blind == 0
    assert describe(BENCHMARK, tau_a_s=2.5).splits["validation"].num_blind == 3


def test_lengths_and_spans_are_in_seconds() -> None:
    train = describe(BENCHMARK).splits["train"]
    assert (train.mean_length_s, train.median_length_s, train.longer_than_1s) == (1.5, 1.5, 2 / 3)
    assert (train.max_span_s, train.median_span_s) == (6.0, 3.75)


def test_subsets_are_counted_by_field() -> None:
    found = describe(BENCHMARK)
    assert found.num_in_subset["tail"] == {"verb": 2, "noun": 0, "action": 2}
    assert found.num_tail_classes == {"verb": 1, "noun": 0, "action": 1}
    assert found.num_many_shot == {}


@given(st.lists(st.tuples(st.sampled_from(["P1_1", "P2_1"]), st.integers(0, 12), st.integers(1, 6)), max_size=12))
def test_overlaps_equal_those_of_all_pairs(rows: list[tuple[str, int, int]]) -> None:
    table = segments(
        *((video, float(start), float(start + length), 0) for video, start, length in rows or [("P1_1", 0, 1)])
    )
    each = list(table)
    expected = sum(
        any(
            one is not other
            and one.video_id == other.video_id
            and one.start_s < other.stop_s
            and other.start_s < one.stop_s
            for other in each
        )
        for one in each
    )
    assert num_overlapping(table) == expected


@pytest.mark.parametrize("tau_a_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_anticipation_time_is_refused(tau_a_s: float) -> None:
    with pytest.raises(ValueError, match="tau_a_s must be positive and finite"):
        describe(BENCHMARK, tau_a_s=tau_a_s)


@pytest.fixture(scope="module")
def epic100(real_data: Path) -> Statistics:
    return describe(load_epic100(real_data / "epic-kitchens-100-annotations"))


@pytest.mark.data
def test_published_sizes_of_epic100(epic100: Statistics) -> None:
    sizes = {name: each.num_segments for name, each in epic100.splits.items()}
    assert sizes == {"train": 67217, "validation": 9668, "test": 13092}
    assert epic100.num_classes == {"verb": 97, "noun": 300, "action": 3806}
    assert epic100.splits["train"].num_classes == {"verb": 97, "noun": 289, "action": 3568}
    assert epic100.splits["validation"].num_classes == {"verb": 78, "noun": 211, "action": 1352}


@pytest.mark.data
def test_published_gaps_of_epic100(epic100: Statistics) -> None:
    assert (epic100.num_untrained_classes, epic100.num_untrained_segments) == (238, 372)
    assert epic100.num_single_classes == 530
    assert epic100.splits["validation"].num_blind == 27


@pytest.mark.data
def test_published_subsets_of_epic100(epic100: Statistics) -> None:
    assert epic100.num_in_subset["tail"] == {"verb": 1760, "noun": 1900, "action": 3105}
    assert epic100.num_in_subset["unseen"] == {"verb": 1065, "noun": 1065, "action": 1065}
    assert epic100.num_tail_classes["action"] == 998


@pytest.mark.data
def test_every_class_of_egtea_is_trained(real_data: Path) -> None:
    found = describe(load_egtea(real_data / "egtea", split=1), tau_a_s=0.5)
    assert found.num_untrained_classes == 0
    assert found.num_classes == {"verb": 19, "noun": 51, "action": 106}
