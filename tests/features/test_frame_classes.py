import numpy as np
import pytest
import torch

from sgear.errors import FeatureError
from sgear.features import FeatureTable, VideoFeatures
from sgear.features.frame_classes import ClassConfusion, fit_frame_classifier
from sgear.models.config import EncoderConfig
from sgear.models.encoders import FeatureEncoder, FrozenFrameClassifier

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


def test_strength_must_be_positive():
    table, labels = make_table()
    with pytest.raises(ValueError, match="strength must be positive"):
        ClassConfusion(table, labels, num_actions=NUM_ACTIONS, strength=0.0)


def make_rows(classes, width: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.array(classes)
    rows = 0.3 * rng.standard_normal((len(labels), width))
    rows[np.arange(len(labels)), labels % width] += 3.0
    return rows.astype(np.float32), labels.astype(np.int64)


def posteriors(fitted, rows):
    recogniser = FrozenFrameClassifier(rows.shape[1], len(fitted.bias) - 1)
    recogniser.set_fitted(fitted)
    return recogniser(torch.from_numpy(rows)[None])[0].numpy()


def test_it_recognises_rows_and_calls_unlabelled_ones_none():
    rows, labels = make_rows([0, 1, 2, -1] * 50)
    probs = posteriors(fit_frame_classifier(rows, labels, num_actions=3), rows)
    assert np.array_equal(probs.argmax(axis=1), np.where(labels < 0, 3, labels))
    assert probs.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_class_without_rows_has_probability_zero():
    rows, labels = make_rows([0, 2, -1] * 50)
    probs = posteriors(fit_frame_classifier(rows, labels, num_actions=3), rows)
    assert probs[:, 1].max() == 0.0


def test_one_class_is_refused():
    rows, labels = make_rows([1] * 20)
    with pytest.raises(FeatureError, match="rows of two classes"):
        fit_frame_classifier(rows, labels, num_actions=2)


def test_a_constant_feature_does_no_harm():
    rows, labels = make_rows([0, 1, -1] * 30)
    rows[:, 4] = 7.0
    assert np.isfinite(posteriors(fit_frame_classifier(rows, labels, num_actions=2), rows)).all()


def test_a_wild_value_is_limited():
    rows, labels = make_rows([0, 1, -1] * 30)
    fitted = fit_frame_classifier(rows, labels, num_actions=2)
    wild, limit = rows[:1].copy(), rows[:1].copy()
    wild[0, 0] = 1e6
    limit[0, 0] = fitted.mean[0] + 6 * fitted.scale[0]
    assert posteriors(fitted, wild) == pytest.approx(posteriors(fitted, limit), abs=1e-5)


def test_the_recogniser_is_saved_with_the_weights_and_never_trained():
    encoder = FeatureEncoder(EncoderConfig(feature_dim=5, recogniser=True), width=8, num_actions=2)
    rows, labels = make_rows([0, 1, -1] * 30)
    assert encoder.recogniser is not None
    encoder.recogniser.set_fitted(fit_frame_classifier(rows, labels, num_actions=2))
    assert [name for name, _ in encoder.named_parameters()] == ["project.weight"]
    twin = FeatureEncoder(EncoderConfig(feature_dim=5, recogniser=True), width=8, num_actions=2)
    twin.load_state_dict(encoder.state_dict())
    clip = torch.from_numpy(rows)[None]
    assert torch.equal(twin(clip), encoder(clip))
