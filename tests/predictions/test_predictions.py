from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import PredictionError
from sgear.predictions import Predictions, late_fuse
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy(
    verbs=("take", "cut", "put"), nouns=("knife", "onion"), action_pairs=((0, 0), (0, 1), (1, 1), (2, 0))
)
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()


def table(seed=0, num_samples=6, **changes) -> Predictions:
    rng = np.random.default_rng(seed)
    fields = {
        "uids": tuple(f"v_{index}" for index in range(num_samples)),
        "logits": rng.normal(size=(num_samples, 4)).astype(np.float32),
        "targets": np.arange(num_samples) % 4,
        "taxonomy": TAXONOMY,
        "protocol": PROTOCOL,
    }
    return Predictions(**(fields | changes))


def test_a_table_survives_its_file(tmp_path: Path):
    original = table(provenance={"model": "sgear", "seed": 3})
    original.save(tmp_path / "p.safetensors")
    loaded = Predictions.load(tmp_path / "p.safetensors")
    assert loaded.uids == original.uids
    assert np.array_equal(loaded.logits, original.logits)
    assert np.array_equal(loaded.targets, original.targets)
    assert loaded.protocol == original.protocol
    assert loaded.provenance == original.provenance
    assert loaded.taxonomy == original.taxonomy


@pytest.mark.parametrize("num_kept", [0, 7, 200])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, num_kept: int):
    path = tmp_path / "p.safetensors"
    table().save(path)
    path.write_bytes(path.read_bytes()[:num_kept])
    with pytest.raises(PredictionError, match=r"p\.safetensors"):
        Predictions.load(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(PredictionError, match="sgear evaluate"):
        Predictions.load(tmp_path / "absent.safetensors")


def test_a_uid_occurs_once():
    with pytest.raises(PredictionError, match="more than once"):
        table(uids=("a", "b", "c", "a", "d", "e"))


def test_scores_that_are_not_finite_are_refused_by_uid():
    logits = table().logits.copy()
    logits[2, 1] = np.nan
    with pytest.raises(PredictionError, match="v_2"):
        table(logits=logits)


@given(st.integers(0, 100), st.floats(0.01, 0.99))
def test_fusing_a_model_with_itself_changes_nothing(seed, weight):
    original = table(seed)
    fused = late_fuse([original, original], [weight, 1 - weight])
    np.testing.assert_allclose(fused.probs, original.probs, atol=1e-6)
