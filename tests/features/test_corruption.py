import time

import numpy as np
import pytest

from sgear.features import FeatureTable, VideoFeatures
from sgear.features.corruption import ClassConfusion, unsure_copy

NUM_ACTIONS = 3
# Class means on a line: 0 and 1 are near each other, 2 and "none" (3) are far away on the other side.
MEANS = np.array([[4.0, 0.0], [4.0, 1.0], [-4.0, 1.0], [-4.0, -3.0]])


def make_table(num_videos: int = 3, num_rows: int = 240, width: int = 2):
    rng = np.random.default_rng(0)
    videos, labels = {}, {}
    for index in range(num_videos):
        classes = np.repeat(rng.permutation(4), num_rows // 4)
        features = np.zeros((num_rows, width), dtype=np.float32)
        features[:, :2] = MEANS[classes]
        features += 0.01 * rng.standard_normal(features.shape).astype(np.float32)
        videos[f"v{index}"] = VideoFeatures(np.arange(num_rows) / 3, features, f"v{index}.npz")
        labels[f"v{index}"] = np.where(classes == NUM_ACTIONS, -1, classes)
    return FeatureTable(videos), labels


def make_confusion(strength: float = 0.8):
    table, labels = make_table()
    return ClassConfusion(table, labels, num_actions=NUM_ACTIONS, strength=strength), table, labels


def test_the_same_generator_gives_the_same_rows():
    confusion, _, _ = make_confusion()
    once = confusion.rows("v0", 10, 200, np.random.default_rng(7))
    again = confusion.rows("v0", 10, 200, np.random.default_rng(7))
    other = confusion.rows("v0", 10, 200, np.random.default_rng(8))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_weak_confusion_leaves_rows_nearly_as_they_were():
    confusion, table, _ = make_confusion(strength=0.01)
    rows = confusion.rows("v0", 0, 240, np.random.default_rng(0))
    assert np.median(np.abs(rows - table["v0"].features)) < 0.02


def test_a_stronger_confusion_moves_rows_further():
    def distance(strength):
        confusion, table, _ = make_confusion(strength)
        draws = [confusion.rows("v0", 0, 240, np.random.default_rng(seed)) for seed in range(20)]
        return np.mean([np.abs(rows - table["v0"].features).mean() for rows in draws])

    assert distance(0.2) < distance(0.8) < distance(3.0)


def test_partners_are_classes_that_look_alike():
    confusion, _, labels = make_confusion(strength=50.0)
    rows = np.concatenate([confusion.rows("v0", 0, 240, np.random.default_rng(seed)) for seed in range(30)])
    of_zero = rows[np.tile(labels["v0"] == 0, 30)]
    nearest = np.linalg.norm(of_zero[:, None] - MEANS, axis=2).argmin(axis=1)
    # A block runs on over the border of its class, hence not all of them.
    assert np.mean(nearest == 1) > 0.6


def test_every_row_is_a_mix_of_its_own_and_one_other():
    confusion, table, _ = make_confusion()
    rows = confusion.rows("v1", 0, 240, np.random.default_rng(3))
    assert rows.dtype == np.float32
    assert rows.shape == table["v1"].features.shape
    assert rows.min() >= MEANS.min() - 0.1
    assert rows.max() <= MEANS.max() + 0.1


def test_a_class_without_training_rows_still_gets_a_partner():
    table, labels = make_table(num_videos=1)
    confusion = ClassConfusion(table, labels, num_actions=7, strength=1.0)
    rows = confusion.corrupt(table["v0"].features, np.full(240, 6), np.random.default_rng(0))
    assert np.isfinite(rows).all()


def test_a_single_class_is_mixed_with_itself():
    table, _ = make_table(num_videos=1)
    confusion = ClassConfusion(table, {"v0": np.zeros(240, dtype=np.int64)}, num_actions=1, strength=1.0)
    assert np.isfinite(confusion.rows("v0", 0, 240, np.random.default_rng(0))).all()


def test_strength_must_be_positive():
    table, labels = make_table()
    with pytest.raises(ValueError, match="strength must be positive"):
        ClassConfusion(table, labels, num_actions=NUM_ACTIONS, strength=0.0)


def test_an_unsure_copy_changes_the_named_videos_alone():
    confusion, table, labels = make_confusion()
    copy = unsure_copy(table, {"v2": labels["v2"]}, confusion, seed=1)
    assert np.array_equal(copy["v0"].features, table["v0"].features)
    assert not np.array_equal(copy["v2"].features, table["v2"].features)
    assert np.array_equal(copy["v2"].times_s, table["v2"].times_s)


def test_ten_minutes_are_corrupted_within_some_milliseconds():
    table, labels = make_table(num_videos=2, num_rows=1800, width=128)
    confusion = ClassConfusion(table, labels, num_actions=NUM_ACTIONS, strength=0.8)
    durations_s = []
    for seed in range(5):
        began = time.perf_counter()
        confusion.rows("v0", 0, 1800, np.random.default_rng(seed))
        durations_s.append(time.perf_counter() - began)
    # 1 ms on an idle core; the bound leaves room for a busy one.
    assert min(durations_s) < 0.02
