"""Adjusted scores: chosen on held-out people, worth what the metric says, and nothing at strength 0."""

from dataclasses import replace

import numpy as np
import pytest
from scoring_examples import make_table

from sgear.errors import PredictionError
from sgear.metrics.class_means import class_mean_recall
from sgear.predictions.held_out import Adjustment, adjust, choose_adjustment, rebalance


def long_tail(seed: int = 0, num_classes: int = 12, num_samples: int = 600):
    """Return scores that lean on a long-tailed prior, their targets, and the counts of the classes."""
    rng = np.random.default_rng(seed)
    counts = np.array([2 ** max(0, 9 - index) for index in range(num_classes)])
    targets = rng.integers(0, num_classes, num_samples)
    logits = rng.normal(size=(num_samples, num_classes)) + np.log(counts)
    logits[np.arange(num_samples), targets] += 2.0
    return logits.astype(np.float32), targets, counts


def test_strength_0_changes_nothing():
    logits, _, counts = long_tail()
    np.testing.assert_array_equal(adjust(logits, counts, Adjustment()), logits)


def test_the_prior_is_divided_out_once_at_strength_1():
    counts = np.array([100, 10, 1, 0])
    np.testing.assert_allclose(
        adjust(np.log([[100.0, 10.0, 1.0, 1.0]]), counts, Adjustment(tau=1.0, offset=0.5)), [[0, 0, 0, 0.5]], atol=1e-6
    )


def test_what_is_chosen_is_the_best_of_what_was_tried():
    logits, targets, counts = long_tail()
    chosen = choose_adjustment(logits, targets, counts)
    assert chosen.score == pytest.approx(class_mean_recall(adjust(logits, counts, chosen), targets))
    for tau in np.arange(0, 1.6, 0.1):
        for floor in (1.0, 3.0, 10.0):
            trial = adjust(logits, counts, Adjustment(tau=tau, floor=floor))
            assert chosen.score >= class_mean_recall(trial, targets) - 1e-12
    assert chosen.score > class_mean_recall(logits, targets)


def test_an_offset_is_chosen_only_where_held_out_samples_ask_for_it():
    logits, targets, counts = long_tail()
    assert choose_adjustment(logits, targets, counts).offset == 0
    # Two classes that training never showed, and whose scores are too low.
    counts[-2:] = 0
    logits[:, -2:] -= 3.0
    assert choose_adjustment(logits, targets, counts).offset > 0


def test_predictions_are_adjusted_per_field_and_say_so():
    reported, held_out = make_table(0), make_table(1)
    held_out = replace(held_out, uids=tuple(f"held_out_{uid}" for uid in held_out.uids))
    counts = np.arange(reported.taxonomy.num_actions) ** 2 + 1
    table, chosen = rebalance(reported, counts, held_out, counts)
    assert table.uids == reported.uids
    assert set(chosen) == {"verb", "noun", "action"}
    assert table.provenance["rebalanced"]["metric"] == "recall5"
    np.testing.assert_array_equal(table.logits, adjust(reported.logits, counts, chosen["action"]))


def test_an_adjustment_is_never_chosen_on_what_is_reported():
    reported = make_table()
    counts = np.ones(reported.taxonomy.num_actions, dtype=np.int64)
    with pytest.raises(PredictionError, match="must not be chosen on what is reported"):
        rebalance(reported, counts, reported, counts)
