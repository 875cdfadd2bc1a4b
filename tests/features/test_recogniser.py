import numpy as np
import pytest
import torch

from sgear.errors import FeatureError
from sgear.features.recogniser import fit_recogniser
from sgear.models.config import EncoderConfig
from sgear.models.encoders import FeatureEncoder, FrameRecogniser


def make_rows(classes, width: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.array(classes)
    rows = 0.3 * rng.standard_normal((len(labels), width))
    rows[np.arange(len(labels)), labels % width] += 3.0
    return rows.astype(np.float32), labels.astype(np.int64)


def posteriors(fitted, rows):
    recogniser = FrameRecogniser(rows.shape[1], len(fitted.bias) - 1)
    recogniser.set_fitted(fitted)
    return recogniser(torch.from_numpy(rows)[None])[0].numpy()


def test_it_recognises_rows_and_calls_unlabelled_ones_none():
    rows, labels = make_rows([0, 1, 2, -1] * 50)
    probs = posteriors(fit_recogniser(rows, labels, num_actions=3), rows)
    assert np.array_equal(probs.argmax(axis=1), np.where(labels < 0, 3, labels))
    assert probs.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_class_without_rows_has_probability_zero():
    rows, labels = make_rows([0, 2, -1] * 50)
    probs = posteriors(fit_recogniser(rows, labels, num_actions=3), rows)
    assert probs[:, 1].max() == 0.0


def test_two_classes_are_enough():
    rows, labels = make_rows([0, 1] * 50)
    probs = posteriors(fit_recogniser(rows, labels, num_actions=2), rows)
    assert np.array_equal(probs.argmax(axis=1), labels)


def test_one_class_is_refused():
    rows, labels = make_rows([1] * 20)
    with pytest.raises(FeatureError, match="at least two classes"):
        fit_recogniser(rows, labels, num_actions=2)


def test_a_constant_feature_does_no_harm():
    rows, labels = make_rows([0, 1, -1] * 30)
    rows[:, 4] = 7.0
    assert np.isfinite(posteriors(fit_recogniser(rows, labels, num_actions=2), rows)).all()


def test_a_wild_value_is_limited():
    rows, labels = make_rows([0, 1, -1] * 30)
    fitted = fit_recogniser(rows, labels, num_actions=2)
    wild, limit = rows[:1].copy(), rows[:1].copy()
    wild[0, 0] = 1e6
    limit[0, 0] = fitted.mean[0] + 6 * fitted.scale[0]
    assert posteriors(fitted, wild) == pytest.approx(posteriors(fitted, limit), abs=1e-5)


def test_the_recogniser_is_saved_with_the_weights_and_never_trained():
    encoder = FeatureEncoder(EncoderConfig(feature_dim=5, recogniser=True), width=8, num_actions=2)
    rows, labels = make_rows([0, 1, -1] * 30)
    assert encoder.recogniser is not None
    encoder.recogniser.set_fitted(fit_recogniser(rows, labels, num_actions=2))
    assert [name for name, _ in encoder.named_parameters()] == ["project.weight"]
    twin = FeatureEncoder(EncoderConfig(feature_dim=5, recogniser=True), width=8, num_actions=2)
    twin.load_state_dict(encoder.state_dict())
    clip = torch.from_numpy(rows)[None]
    assert torch.equal(twin(clip), encoder(clip))
