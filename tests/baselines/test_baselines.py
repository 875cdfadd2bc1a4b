import numpy as np
import polars as pl
import pytest

from sgear.baselines import MarkovBaseline, PooledRegression, frequency_logits
from sgear.baselines.markov import transition_probs
from sgear.data import AnticipationDataset, FeatureSource, StepLabels
from sgear.features import FeatureTable, VideoFeatures
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=8.0, fps=1.0)
FPS, LENGTH_S = 2.0, 6.0


def world(orders: list[list[int]], seed: int = 0) -> AnticipationDataset:
    """Videos of segments of 6 s each; a row shows the action going on, with noise."""
    rng = np.random.default_rng(seed)
    rows, videos = [], {}
    for video, order in enumerate(orders):
        actions = np.repeat(order, int(LENGTH_S * FPS))
        features = np.eye(3)[actions] + 0.1 * rng.standard_normal((len(actions), 3))
        videos[f"v{video}"] = VideoFeatures(np.arange(len(actions)) / FPS, features.astype(np.float32), "made")
        rows += [(f"v{video}_{index}", f"v{video}", index * LENGTH_S, action) for index, action in enumerate(order)]
    actions = [action for *_, action in rows]
    frame = pl.DataFrame(
        {
            "uid": [uid for uid, *_ in rows],
            "participant_id": ["P01"] * len(rows),
            "video_id": [video_id for _, video_id, *_ in rows],
            "start_s": [start for _, _, start, _ in rows],
            "stop_s": [start + LENGTH_S for _, _, start, _ in rows],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    table = SegmentTable(frame, TAXONOMY, origin="made")
    asked = table.filter(pl.col("start_s") > 0)
    return AnticipationDataset(asked, PROTOCOL, StepLabels(table), FeatureSource(FeatureTable(videos)), seed=None)


CYCLES = [[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1]]


def accuracy(logits, dataset) -> float:
    return float(np.mean(logits.argmax(axis=1) == dataset.segments.column("action_id")))


def test_frequency_ranks_by_count_and_sums_to_one():
    train = world([[0, 1, 1, 1, 2, 2]]).segments
    logits = frequency_logits(train, 4)
    assert logits.shape == (4, 3)
    assert logits[0].argsort().tolist() == [0, 2, 1]
    assert np.exp(logits).sum(axis=1) == pytest.approx(1.0)


def test_markov_follows_the_law_of_the_videos():
    held_out = world(CYCLES, seed=9)
    assert accuracy(MarkovBaseline(inverse_regularization=1.0).fit(world(CYCLES)).logits(held_out), held_out) == 1.0


def test_markov_cannot_tell_what_only_the_longer_past_tells():
    # After 1 comes 2 or 0, whichever has not been: the action before decides.
    orders = [[0, 1, 2], [2, 1, 0]] * 4
    dataset = world(orders)
    last = dataset.segments.column("start_s") == 2 * LENGTH_S
    logits = MarkovBaseline(inverse_regularization=1.0).fit(dataset).logits(dataset)
    probs = np.exp(logits[last])
    assert np.abs(probs[:, 0] - probs[:, 2]).max() < 0.2


def test_pooled_regression_learns_the_law_of_the_videos():
    held_out = world(CYCLES, seed=9)
    assert accuracy(PooledRegression(inverse_regularization=1.0).fit(world(CYCLES)).logits(held_out), held_out) == 1.0


def test_pooled_regression_gives_a_low_score_to_a_class_it_never_saw():
    train = world([[0, 1, 0, 1, 0, 1]])
    logits = PooledRegression().fit(train).logits(world([[0, 1, 2]]))
    assert np.isfinite(logits).all()
    assert logits[:, 2] == pytest.approx(np.log(1e-6))


def test_transitions_are_rows_of_probabilities_that_count_what_followed():
    probs = transition_probs(world([[0, 1, 2, 0, 1, 2]]).segments, smoothing=0.0 + 1e-9)
    assert probs.shape == (4, 3)
    assert probs.sum(axis=1) == pytest.approx(1.0)
    assert probs[1, 2] == pytest.approx(1.0, abs=1e-6)
