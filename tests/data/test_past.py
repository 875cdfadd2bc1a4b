"""The annotated past: which actions a step shows, with which ages, and nothing that comes after its instant."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.data import PastSource, StepLabels
from sgear.data.confusion import ActionConfusion, counted_confusion, field_confusion
from sgear.datasets import load_dataset
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan", "cut bread"])
A = TAXONOMY.num_actions
span = st.tuples(st.integers(0, 80), st.integers(1, 40), st.integers(0, A - 1)).map(
    lambda s: (s[0] / 4, s[1] / 4, s[2])
)


def labels_of(spans: list[tuple[float, float, int]]) -> StepLabels:
    actions = np.array([action for *_, action in spans], dtype=np.int64)
    frame = pl.DataFrame(
        {
            "uid": [f"v_{index}" for index in range(len(spans))],
            "participant_id": ["P01"] * len(spans),
            "video_id": ["v"] * len(spans),
            "start_s": [start for start, *_ in spans],
            "stop_s": [start + length for start, length, _ in spans],
            "verb_id": np.where(actions < 0, -1, TAXONOMY.verb_of_action[actions]),
            "noun_id": np.where(actions < 0, -1, TAXONOMY.noun_of_action[actions]),
            "action_id": actions,
        }
    )
    return StepLabels(SegmentTable(frame, TAXONOMY, origin="made"))


def source_of(spans, **settings) -> PastSource:
    return PastSource(labels_of(spans), num_actions=A, **{"history": 4, **settings})


@given(spans=st.lists(span, min_size=1, max_size=9), at_s=st.integers(0, 100).map(lambda n: n / 4 + 0.1))
@pytest.mark.parametrize("counts_from", ["start", "end"])
def test_the_past_equals_a_loop_over_the_segments(counts_from, spans, at_s):
    expected = []
    for start, length, action in sorted(spans, key=lambda s: s[0]):
        if (start if counts_from == "start" else start + length) <= at_s:
            expected.append((action + 1, at_s - start, min(length, at_s - start)))
    if len(expected) < 4:
        expected = [(A + 1, at_s, 0.0), *expected]
    expected = [(0, 0.0, 0.0)] * (4 - len(expected)) + expected[-4:]
    read = source_of(spans, counts_from=counts_from).read("v", np.array([at_s]), None).steps[0]
    np.testing.assert_allclose(read.numpy(), expected, atol=1e-5)


@given(spans=st.lists(span, min_size=1, max_size=9), later=st.lists(span, max_size=5), at_s=st.floats(0, 25))
def test_what_starts_after_an_instant_does_not_change_what_it_shows(spans, later, at_s):
    after = [(at_s + 0.01 + start, length, action) for start, length, action in later]
    instant = np.array([at_s])
    seen = source_of(spans, confusion=half()).read("v", instant, None).steps
    assert (seen == source_of(spans + after, confusion=half()).read("v", instant, None).steps).all()


def test_the_rest_of_an_action_under_way_is_not_shown():
    instant = np.array([3.0])
    short, long = ([(1.0, length, 0)] for length in (2.5, 30.0))
    assert (source_of(short).read("v", instant, None).steps == source_of(long).read("v", instant, None).steps).all()


def test_on_real_annotations_every_action_shown_had_started(real_data: Path):
    benchmark = load_dataset("epic100", real_data / "epic-kitchens-100-annotations")
    source = PastSource(StepLabels(benchmark.timeline), num_actions=benchmark.taxonomy.num_actions, history=16)
    starts = {
        video_id: set(np.round(benchmark.timeline.of_video(video_id).column("start_s"), 3))
        for video_id in benchmark.validation.video_ids[:20]
    }
    for segment in list(benchmark.validation)[:3000]:
        at_s = segment.start_s - 1.0
        if segment.video_id not in starts or at_s <= 0:
            continue
        records = source.read(segment.video_id, np.array([at_s]), None).steps[0].numpy().astype(np.float64)
        shown = records[(records[:, 0] > 0) & (records[:, 0] <= benchmark.taxonomy.num_actions)]
        assert (shown[:, 1] >= 0).all()
        assert (shown[:, 2] <= shown[:, 1] + 1e-3).all()
        for start_s in at_s - shown[:, 1]:
            assert min(abs(start_s - known) for known in starts[segment.video_id]) < 0.01


def test_training_leaves_out_a_share_of_the_actions_and_evaluation_none():
    spans = [(float(index), 0.5, index % A) for index in range(50)]
    source, instant = source_of(spans, history=40, drop=0.25), np.array([60.0])
    assert (source.read("v", instant, None).steps[..., 0] > 0).all()
    left = [
        (source.read("v", instant, np.random.default_rng(seed)).steps[..., 0] == 0).float().mean() for seed in range(40)
    ]
    assert np.mean(left) == pytest.approx(0.25, abs=0.04)


def half() -> ActionConfusion:
    return ActionConfusion(field_confusion(TAXONOMY, np.ones(A, dtype=np.int64), strength=0.5))


def test_mistakes_share_a_verb_or_a_noun_and_come_as_often_as_asked():
    actions = np.zeros(4000, dtype=np.int64)
    said = half().of(actions, "v", np.arange(4000) / 7, None)
    # "cut onion" may become "peel onion" or "cut bread", never "wash pan"; what is alone is always right.
    assert set(said) == {0, 1, 3}
    assert (said == 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (half().of(actions + 2, "v", np.arange(4000) / 7, None) == 2).all()


def test_all_windows_see_the_same_mistakes_in_evaluation_and_new_ones_in_training():
    spans = [(float(index), 0.5, index % A) for index in range(30)]
    source = source_of(spans, history=30, confusion=half())
    early, late = (source.read("v", np.array([at_s]), None).steps[0, :, 0] for at_s in (30.0, 35.0))
    assert (early == late).all()
    first, second = (source.read("v", np.array([30.0]), np.random.default_rng(seed)).steps[0, :, 0] for seed in (0, 1))
    assert (first != second).any()


def test_an_action_outside_the_vocabulary_is_no_action():
    shown = source_of([(1.0, 1.0, 0), (3.0, 1.0, -1), (5.0, 1.0, 2)], confusion=half()).read("v", np.array([9.0]), None)
    assert shown.steps[0, :, 0].tolist()[-2:] == [0.0, 3.0]


def test_mistakes_are_counted_in_the_predictions_of_a_real_classifier():
    true, said = np.array([0] * 8 + [1] * 3), np.array([0] * 2 + [2] * 6 + [1] * 3)
    probs = counted_confusion(said, true, TAXONOMY)
    np.testing.assert_allclose(probs[0], [3 / 9, 0, 6 / 9, 0])
    np.testing.assert_allclose(probs[1], [0, 1, 0, 0])
    np.testing.assert_allclose(probs[3], [0, 0, 0, 1])
