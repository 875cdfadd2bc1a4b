import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.data import AnticipationDataset, FeatureSource, RecognitionDataset, StepLabels
from sgear.data.dataset import observable_segments
from sgear.errors import FeatureError
from sgear.features import FeatureTable, VideoFeatures
from sgear.features.frame_classes import ClassConfusion
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol, RecognitionProtocol, VJepaProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)


def segments(*spans: tuple[float, float, int]) -> SegmentTable:
    actions = [action for _, _, action in spans]
    frame = pl.DataFrame(
        {
            "uid": [f"v_{index}" for index in range(len(spans))],
            "participant_id": ["P01"] * len(spans),
            "video_id": ["v"] * len(spans),
            "start_s": [float(start) for start, _, _ in spans],
            "stop_s": [float(stop) for _, stop, _ in spans],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="test")


def clock(duration_s: float = 20.0, fps: float = 4.0, first_s: float = 0.0) -> FeatureTable:
    """Features that hold their own time."""
    times_s = first_s + np.arange(int(duration_s * fps)) / fps
    return FeatureTable({"v": VideoFeatures(times_s, times_s[:, None].astype(np.float32), "clock.npz")})


@given(start_s=st.floats(1.1, 19), jitter_s=st.floats(0, 3), seed=st.integers(0, 50))
def test_no_step_shows_anything_later_than_tau_a_before_the_action(start_s, jitter_s, seed):
    table = segments((start_s, start_s + 0.5, 0))
    dataset = AnticipationDataset(
        table, PROTOCOL, StepLabels(table), FeatureSource(clock()), seed=seed, tau_a_jitter_s=jitter_s
    )
    sample = dataset[0]
    seen_s = sample["clip"][sample["mask"]]
    assert len(seen_s) >= 1
    assert seen_s.max().item() <= start_s - PROTOCOL.tau_a_s + 1e-5


def test_steps_before_the_video_do_not_exist():
    table = segments((3.5, 4.0, 0))
    sample = AnticipationDataset(table, PROTOCOL, StepLabels(table), FeatureSource(clock()), seed=None)[0]
    assert sample["mask"].tolist() == [False, True, True, True]
    assert sample["clip"][:, 0].tolist() == [0.0, 0.5, 1.5, 2.5]


def test_the_repeat_rule_reads_the_first_step_again():
    table = segments((3.5, 4.0, 0))
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0, short_history="repeat")
    source = FeatureSource(clock(first_s=0.25))
    sample = AnticipationDataset(table, protocol, StepLabels(table), source, seed=None)[0]
    assert sample["mask"].all()
    assert sample["clip"][:, 0].tolist() == [0.25, 0.5, 1.5, 2.5]


@given(start_s=st.floats(0, 10), length_s=st.floats(1.1, 8))
def test_the_vjepa_window_ends_a_second_before_the_end_of_the_action(start_s, length_s):
    table = segments((start_s, start_s + length_s, 0))
    protocol = VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
    source = FeatureSource(clock(fps=64.0))
    sample = AnticipationDataset(table, protocol, StepLabels(table), source, seed=None)[0]
    assert start_s + length_s - 1.0 - 1 / 64 - 1e-5 <= sample["clip"][-1].item() <= start_s + length_s - 1.0 + 1e-5
    assert sample["mask"].all()


def test_segments_with_nothing_to_see_are_counted_and_refused():
    table = segments((0.5, 1.0, 0), (2.0, 3.0, 1))
    source = FeatureSource(clock())
    assert observable_segments(table, PROTOCOL, source).tolist() == [False, True]
    with pytest.raises(ValueError, match="1 segments start before"):
        AnticipationDataset(table, PROTOCOL, StepLabels(table), source, seed=None)


def test_features_that_begin_late_are_not_read_before_they_begin():
    table = segments((5.0, 6.0, 0))
    sample = AnticipationDataset(table, PROTOCOL, StepLabels(table), FeatureSource(clock(first_s=2.5)), seed=None)[0]
    assert sample["mask"].tolist() == [False, False, True, True]


def test_augmentation_depends_on_seed_and_epoch_alone():
    table = segments((10.0, 11.0, 0))

    def draw(seed, epoch):
        dataset = AnticipationDataset(
            table, PROTOCOL, StepLabels(table), FeatureSource(clock(fps=100.0)), seed=seed, tau_a_jitter_s=3.0
        )
        dataset.set_epoch(epoch)
        return dataset[0]["clip"][-1].item()

    assert draw(1, 1) == draw(1, 1)
    assert len({draw(1, 0), draw(1, 1), draw(2, 0), draw(2, 1)}) == 4


def test_overlapping_labels_go_to_the_nearest_centre():
    labels = StepLabels(segments((0.0, 10.0, 0), (6.0, 8.0, 1), (12.0, 13.0, 2)))
    times_s = np.array([5.0, 6.0, 7.0, 9.0, 11.0, 12.5])
    assert labels.at("v", times_s).tolist() == [0, 0, 1, 0, -1, 2]
    assert labels.at("unknown video", times_s[:2]).tolist() == [-1, -1]


def test_recognition_reads_inside_the_action():
    table = segments((4.0, 8.0, 2))
    protocol = RecognitionProtocol(num_steps=4)
    sample = RecognitionDataset(table, protocol, StepLabels(table), FeatureSource(clock()), seed=None)[0]
    assert sample["clip"][:, 0].tolist() == [4.5, 5.5, 6.5, 7.5]
    assert sample["step_labels"].tolist() == [2, 2, 2, 2]


def test_a_recognition_window_shows_what_comes_before_the_action_and_names_it():
    table = segments((2.0, 2.5, 0), (4.0, 8.0, 2))
    protocol = RecognitionProtocol(num_steps=5, after_start_s=1.0, fps=1.0)
    first, second = RecognitionDataset(table, protocol, StepLabels(table), FeatureSource(clock()), seed=0)
    assert second["clip"][:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert second["step_labels"].tolist() == [-1, 0, -1, 2, 2]
    assert second["target"].item() == 2
    assert first["mask"].tolist() == [False, True, True, True, True]
    assert first["step_labels"].tolist() == [-1, -1, -1, 0, -1]


def test_a_recognition_window_does_not_end_after_the_last_annotated_action():
    table = segments((1.0, 2.0, 0), (4.0, 4.5, 1))
    protocol = RecognitionProtocol(num_steps=2, after_start_s=2.0, fps=1.0)
    source = FeatureSource(clock(duration_s=5.0))
    samples = list(RecognitionDataset(table, protocol, StepLabels(table), source, seed=None))
    assert [sample["clip"][:, 0].tolist() for sample in samples] == [[2.0, 3.0], [3.5, 4.5]]


@given(st.lists(st.floats(2.0, 19), min_size=1, max_size=5), st.floats(0.1, 2))
def test_pooling_equals_a_loop_over_the_rows_of_the_last_seconds(timestamps_s, pool_s):
    table = clock(fps=5.0)
    asked_s = np.sort(np.array(timestamps_s))
    pooled = FeatureSource(table, pool_s=pool_s).read("v", asked_s, None).steps
    video = table["v"]
    for t_s, value in zip(asked_s, pooled[:, 0].tolist(), strict=True):
        rows = [float(x) for x in video.times_s if t_s - pool_s + 1e-6 < x <= t_s + 1e-6]
        rows = rows or [max(float(x) for x in video.times_s if x <= t_s + 1e-6)]
        assert value == pytest.approx(sum(rows) / len(rows), abs=1e-4)


def test_reading_past_the_end_names_the_file():
    with pytest.raises(FeatureError, match=r"clock\.npz.*truncated"):
        FeatureSource(clock(duration_s=5.0)).read("v", np.array([7.0]), None)


def test_an_absent_video_is_named():
    with pytest.raises(FeatureError, match="no features of video 'w'"):
        FeatureSource(clock()).read("w", np.array([1.0]), None)


def test_samples_hold_the_row_they_come_from():
    table = segments((5.0, 6.0, 0), (8.0, 9.0, 1))
    dataset = AnticipationDataset(table, PROTOCOL, StepLabels(table), FeatureSource(clock()), seed=None)
    assert torch.stack([dataset[index]["row"] for index in range(2)]).tolist() == [0, 1]


def test_class_confusion_acts_in_training_alone():
    table = segments((0.0, 5.0, 0), (5.0, 10.0, 1), (12.0, 13.0, 2))
    labels = StepLabels(table)
    features = clock()
    known = {"v": labels.at("v", features["v"].times_s)}
    source = FeatureSource(features, pool_s=1.0, confusion=ClassConfusion(features, known, num_actions=3, strength=2.0))
    plain = FeatureSource(features, pool_s=1.0)
    instants_s = np.array([8.0, 9.0, 10.0])
    evaluated = source.read("v", instants_s, None).steps
    trained, pts_s, _ = source.read("v", instants_s, np.random.default_rng(0))
    assert torch.equal(evaluated, plain.read("v", instants_s, None)[0])
    assert not torch.equal(trained, evaluated)
    assert pts_s.tolist() == [8.0, 9.0, 10.0]


@given(st.lists(st.floats(0, 15), min_size=1, max_size=6))
def test_the_next_action_equals_a_loop_over_the_segments(timestamps_s):
    spans = [(2.0, 3.0, 0), (4.5, 6.0, 1), (7.0, 12.0, 2)]
    labels = StepLabels(segments(*spans)).next_after("v", np.array(timestamps_s), earliest_s=1.0, latest_s=4.0)
    for t_s, label in zip(timestamps_s, labels.tolist(), strict=True):
        coming = [(start, action) for start, _, action in spans if start >= t_s + 1.0 - 1e-6]
        expected = coming[0][1] if coming and coming[0][0] <= t_s + 4.0 + 1e-6 else -1
        assert label == expected
