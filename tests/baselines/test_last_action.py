"""The last action and what follows it, and baselines as tables of predictions."""

import numpy as np
import polars as pl
import pytest

from sgear.baselines import (
    FrequencyBaseline,
    MarkovBaseline,
    PooledRegression,
    annotated_samples,
    predict_baseline,
)
from sgear.data import AnticipationDataset, FeatureSource, StepLabels
from sgear.datasets.registry import load_dataset
from sgear.errors import ConfigError
from sgear.features import FeatureTable, VideoFeatures
from sgear.metrics.class_means import class_mean_recall
from sgear.predictions import Predictions
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
FPS = 2.0


def table_of(videos: dict[str, list[tuple[float, float, int]]]) -> SegmentTable:
    """Segments from (start, stop, action) of each video."""
    rows = [(f"{name}_{i}", name, *span) for name, spans in videos.items() for i, span in enumerate(spans)]
    actions = [row[4] for row in rows]
    frame = pl.DataFrame(
        {
            "uid": [row[0] for row in rows],
            "participant_id": ["P01"] * len(rows),
            "video_id": [row[1] for row in rows],
            "start_s": [float(row[2]) for row in rows],
            "stop_s": [float(row[3]) for row in rows],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="made")


def samples(table: SegmentTable, *, features: bool = True) -> tuple[AnticipationDataset, SegmentTable]:
    """Samples that show something, and the segments that do not; a row of features shows the action going on."""
    labels = StepLabels(table)
    times_s = np.arange(0, 60, 1 / FPS)
    shown = {}
    for name in table.video_ids:
        actions = labels.at(name, times_s)
        rows = np.eye(4)[np.where(actions < 0, 3, actions)] if features else np.full((len(times_s), 4), 7.0)
        shown[name] = VideoFeatures(times_s, rows.astype(np.float32), "made")
    is_seen = table.column("start_s") >= PROTOCOL.tau_a_s
    dataset = AnticipationDataset(table.take(is_seen), PROTOCOL, labels, FeatureSource(FeatureTable(shown)), seed=None)
    return dataset, table.take(~is_seen)


# 0 is followed by 1 twice and by 2 once; 1 by 0.
TRAIN = table_of(
    {
        "a": [(2, 5, 0), (5, 10, 1), (10, 15, 0), (15, 20, 1)],
        "b": [(2, 5, 0), (5, 10, 2)],
    }
)


def test_the_annotated_past_follows_the_row_of_the_last_action():
    train, _ = samples(TRAIN)
    held_out, _ = samples(table_of({"c": [(2, 5, 0), (5, 10, 1), (10, 15, 2)]}))
    probs = np.exp(MarkovBaseline(past="annotated", smoothing=1e-9).fit(train).logits(held_out))
    # The window before the first segment shows no action; both training videos begin with 0.
    assert probs == pytest.approx(np.array([[1, 0, 0], [0, 2 / 3, 1 / 3], [1, 0, 0]]), abs=1e-6)


def test_transitions_are_counted_in_the_whole_training_split():
    # Nothing can be seen before the first segment, 0, so the samples begin with 1 and lack "0, then 1".
    table = table_of({"a": [(0, 5, 0), (5, 10, 1)]})
    train, blind = samples(table)
    assert list(blind.uids) == ["a_0"]
    probs = np.exp(MarkovBaseline(past="annotated", smoothing=1e-9).fit(train, table).logits(train))
    assert probs[0] == pytest.approx([0, 1, 0], abs=1e-6)
    by_samples = np.exp(MarkovBaseline(past="annotated", smoothing=1e-9).fit(train).logits(train))
    assert by_samples[0] == pytest.approx(np.array([1, 2, 1]) / 4, abs=1e-6)


def test_frequencies_are_counted_in_the_whole_training_split():
    table = table_of({"a": [(0, 5, 0), (5, 10, 1)]})
    train, _ = samples(table)
    assert np.exp(FrequencyBaseline().fit(train, table).logits(train))[0] == pytest.approx([0.4, 0.4, 0.2])


def test_the_annotated_past_reads_no_features():
    held_out = table_of({"c": [(0, 5, 0), (5, 10, 1), (10, 15, 0)]})
    with_features = MarkovBaseline(past="annotated").fit(samples(TRAIN)[0]).logits(samples(held_out)[0])
    without = MarkovBaseline(past="annotated").fit(samples(TRAIN, features=False)[0])
    assert np.array_equal(with_features, without.logits(samples(held_out, features=False)[0]))


def test_an_action_that_starts_after_the_last_observed_instant_is_not_the_last_action():
    # At 9 s, one second before the question, only action 0 has started; action 1 starts at 9.5 s.
    asked, _ = samples(table_of({"c": [(0, 9, 0), (9.5, 10, 1), (10, 12, 0)]}))
    same_without, _ = samples(table_of({"c": [(0, 9, 0), (10, 12, 0)]}))
    baseline = MarkovBaseline(past="annotated").fit(samples(TRAIN)[0])
    assert np.array_equal(baseline.logits(asked)[-1], baseline.logits(same_without)[-1])


def test_an_action_that_ended_before_the_window_is_forgotten():
    # The window is 4 steps long and begins at 26 s.
    long_ago, _ = samples(table_of({"c": [(0, 5, 0), (30, 32, 1)]}))
    never, _ = samples(table_of({"c": [(30, 32, 1)]}))
    baseline = MarkovBaseline(past="annotated").fit(samples(TRAIN)[0])
    assert np.array_equal(baseline.logits(long_ago)[-1], baseline.logits(never)[-1])


def test_an_action_without_training_counts_falls_back_to_the_class_frequencies():
    train, _ = samples(TRAIN)
    after_2, _ = samples(table_of({"c": [(0, 5, 2), (5, 10, 0)]}))
    logits = MarkovBaseline(past="annotated").fit(train).logits(after_2)
    assert logits[0] == pytest.approx(FrequencyBaseline().fit(train).logits(after_2)[0], abs=1e-5)


def test_more_smoothing_moves_the_scores_towards_the_class_frequencies():
    train, _ = samples(TRAIN)
    asked, _ = samples(table_of({"c": [(0, 5, 0), (5, 10, 1)]}))
    frequency = np.exp(FrequencyBaseline().fit(train).logits(asked))
    distance = [
        np.abs(np.exp(MarkovBaseline(past="annotated", smoothing=s).fit(train).logits(asked)) - frequency).sum()
        for s in (0.1, 1.0, 10.0, 1e6)
    ]
    assert distance == sorted(distance, reverse=True)
    assert distance[-1] == pytest.approx(0.0, abs=1e-4)


def test_recognising_the_past_well_equals_knowing_it():
    # Noiseless features show the action, so both pasts name the same one where the last step shows an action.
    cycles = table_of({name: [(5 * i, 5 * i + 5, (i + k) % 3) for i in range(8)] for k, name in enumerate("abc")})
    dataset, _ = samples(cycles)
    known = MarkovBaseline(past="annotated").fit(dataset).logits(dataset)
    seen = MarkovBaseline(past="recognised", inverse_regularization=1e4).fit(dataset).logits(dataset)
    assert np.abs(np.exp(known) - np.exp(seen)).max() < 0.02


def test_a_wrong_past_or_no_smoothing_is_refused():
    with pytest.raises(ValueError, match=r"recognised, annotated, got 'guessed'"):
        MarkovBaseline(past="guessed")
    with pytest.raises(ValueError, match=r"smoothing must be positive, got 0\.0"):
        MarkovBaseline(smoothing=0.0)


@pytest.mark.parametrize(
    "baseline",
    [FrequencyBaseline(), MarkovBaseline(), MarkovBaseline(past="annotated"), PooledRegression()],
    ids=lambda baseline: baseline.name,
)
def test_every_baseline_writes_predictions_of_every_segment_once(baseline, tmp_path):
    train, _ = samples(TRAIN)
    asked = table_of({"c": [(0.5, 5, 0), (5, 10, 1), (10, 15, 0)], "d": [(3, 5, 2), (6, 9, 1)]})
    seen, blind = samples(asked)
    table = predict_baseline(baseline, train=train, seen=seen, blind=blind, all_train=TRAIN)
    table.save(tmp_path / "baseline.safetensors")
    stored = Predictions.load(tmp_path / "baseline.safetensors")
    assert sorted(stored.uids) == sorted(asked.uids)
    assert stored.provenance == {"model": baseline.name, "split": "validation", "num_from_prior": 1}
    assert stored.protocol == PROTOCOL.to_dict()
    by_uid = dict(zip(asked.uids, asked.column("action_id").tolist(), strict=True))
    assert stored.targets.tolist() == [by_uid[uid] for uid in stored.uids]
    # The segment with nothing to see gets the frequencies of the whole training split.
    counts = TRAIN.action_counts() + 1.0
    assert np.exp(stored.logits[stored.uids.index("c_0")]) == pytest.approx(counts / counts.sum(), abs=1e-6)


def test_annotations_alone_give_what_samples_with_features_give():
    asked = table_of({"c": [(0.5, 5, 0), (5, 10, 1), (10, 15, 0)]})
    train, _ = annotated_samples(TRAIN, PROTOCOL, StepLabels(TRAIN))
    seen, blind = annotated_samples(asked, PROTOCOL, StepLabels(asked))
    alone = MarkovBaseline(past="annotated").fit(train).logits(seen)
    assert np.array_equal(alone, MarkovBaseline(past="annotated").fit(samples(TRAIN)[0]).logits(samples(asked)[0]))
    assert list(blind.uids) == ["c_0"]


def test_recognising_from_annotations_alone_is_refused():
    train, _ = annotated_samples(TRAIN, PROTOCOL, StepLabels(TRAIN))
    with pytest.raises(ConfigError, match="hold annotations alone"):
        MarkovBaseline().fit(train)


@pytest.mark.slow
@pytest.mark.data
def test_the_last_annotated_action_of_epic_kitchens_100(real_data):
    benchmark = load_dataset("epic100", real_data / "epic-kitchens-100-annotations")
    protocol, labels = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0), StepLabels(benchmark.timeline)
    train, _ = annotated_samples(benchmark.train, protocol, labels)
    seen, blind = annotated_samples(benchmark.validation, protocol, labels)
    assert (len(seen), len(blind)) == (9641, 27)
    logits = MarkovBaseline(past="annotated").fit(train, benchmark.train).logits(seen)
    recall = class_mean_recall(logits, seen.segments.column("action_id"), k=5)
    # Nearly what RULSTM gets from RGB features (0.133), so an annotated past is no weak opponent.
    assert recall == pytest.approx(0.1332, abs=1e-4)
