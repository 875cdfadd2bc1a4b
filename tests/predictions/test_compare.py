"""Two models on the same segments: scores, tests and classes that changed hands."""

import json

import numpy as np
import pytest

from sgear.errors import PredictionError
from sgear.metrics import paired_test
from sgear.predictions import Predictions, score
from sgear.predictions.compare import compare
from sgear.taxonomy import FIELDS, Taxonomy
from sgear.timing import AnticipationProtocol

PAIRS = tuple((verb, noun) for verb in range(4) for noun in range(5))
TAXONOMY = Taxonomy(tuple("abcd"), tuple("vwxyz"), PAIRS)
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()
NUM_SAMPLES = 80


def table(seed, strength=1.5, **changes) -> Predictions:
    targets = np.random.default_rng(7).integers(0, 20, NUM_SAMPLES)
    logits = np.random.default_rng(seed).normal(size=(NUM_SAMPLES, 20))
    logits[np.arange(NUM_SAMPLES), targets] += strength
    fields = {
        "uids": tuple(f"v_{index}" for index in range(NUM_SAMPLES)),
        "logits": logits.astype(np.float32),
        "targets": targets,
        "taxonomy": TAXONOMY,
        "protocol": PROTOCOL,
    }
    return Predictions(**(fields | changes))


def subsets():
    mask = np.arange(NUM_SAMPLES) < 30
    return {"unseen": dict.fromkeys(FIELDS, mask)}


def test_every_score_is_that_of_each_model_alone():
    first, second = table(1), table(2)
    result = compare(first, second, subsets=subsets(), num_resamples=50)
    scores = [score(each, subsets=subsets()) for each in (first, second)]
    assert len(result.scores) == 2 * 3 * 3
    for row in result.scores:
        assert row.first == scores[0][row.subset][row.field][row.metric]
        assert row.second == scores[1][row.subset][row.field][row.metric]
        assert row.difference == pytest.approx(row.first - row.second, abs=1e-12)
        assert row.low <= row.difference <= row.high
        assert row.num_samples == (30 if row.subset == "unseen" else NUM_SAMPLES)


def test_accuracies_are_tested_as_the_paired_test_does():
    first, second = table(1), table(2)
    hits = [(each.logits.argmax(axis=1) == each.targets).astype(float) for each in (first, second)]
    expected = paired_test(*hits, num_resamples=200, seed=3)
    result = compare(first, second, num_resamples=200, seed=3)
    row = next(row for row in result.scores if (row.field, row.metric) == ("action", "top1"))
    assert (row.p_value, row.low, row.high) == (expected.p_value, expected.low, expected.high)
    assert row.num_first_only == int(((hits[0] == 1) & (hits[1] == 0)).sum())
    assert row.num_second_only == int(((hits[0] == 0) & (hits[1] == 1)).sum())


def test_a_model_differs_from_itself_in_nothing():
    result = compare(table(1), table(1), num_resamples=50)
    assert all(row.difference == 0 and row.p_value == 1 and row.num_first_only == 0 for row in result.scores)
    assert not any(result.gains.values())
    assert not any(result.losses.values())


def test_a_much_better_model_is_found_to_be_better():
    result = compare(table(1, strength=4.0), table(2, strength=0.0), num_resamples=500)
    for row in result.scores:
        if row.field == "action":
            assert row.low > 0
            assert row.p_value < 0.01


def test_swapping_the_models_turns_every_sign():
    forward = compare(table(1), table(2), num_resamples=50)
    backward = compare(table(2), table(1), num_resamples=50)
    for one, other in zip(forward.scores, backward.scores, strict=True):
        assert one.difference == -other.difference
        assert (one.num_first_only, one.num_second_only) == (other.num_second_only, other.num_first_only)
    for field in FIELDS:
        names = [[change.name for change in changes[field]] for changes in (forward.gains, backward.losses)]
        assert names[0] == names[1]


def test_classes_are_listed_by_the_segments_they_gained():
    first, second = table(1), table(2, strength=-3.0)
    result = compare(first, second, num_resamples=20)
    gains = result.gains["action"]
    assert 0 < len(gains) <= 10
    assert [change.num_hits for change in gains] == sorted((change.num_hits for change in gains), reverse=True)
    for change in gains:
        rows = first.targets == change.class_id
        own = (np.argsort(-first.logits[rows], axis=1)[:, :5] == change.class_id).any(axis=1)
        other = (np.argsort(-second.logits[rows], axis=1)[:, :5] == change.class_id).any(axis=1)
        assert change.name == TAXONOMY.action_names[change.class_id]
        assert change.num_hits == own.sum() - other.sum()
        assert (change.first, change.second) == (own.mean(), other.mean())
        assert change.num_samples == rows.sum()


def test_rows_are_joined_by_uid():
    first, second = table(1), table(2)
    shuffled = second.take(np.random.default_rng(0).permutation(NUM_SAMPLES))
    assert compare(first, shuffled, num_resamples=20) == compare(first, second, num_resamples=20)


def test_a_comparison_is_plain_json():
    result = compare(table(1), table(2), num_resamples=20).to_dict()
    assert json.loads(json.dumps(result)) == json.loads(json.dumps(result, allow_nan=False))
    assert len(result["scores"]) == 9


def test_what_must_not_stand_side_by_side_is_refused():
    other = AnticipationProtocol(tau_a_s=0.5, tau_o_s=10.0, fps=1.0).to_dict()
    with pytest.raises(PredictionError, match="different protocols"):
        compare(table(1), table(2, protocol=other))
    with pytest.raises(PredictionError, match="disagree about the true actions"):
        compare(table(1), table(2, targets=np.zeros(NUM_SAMPLES, dtype=np.int64)))
    with pytest.raises(PredictionError, match="without labels"):
        compare(*[table(seed, targets=np.full(NUM_SAMPLES, -1)) for seed in (1, 2)])
