"""The official EPIC-KITCHENS-100 evaluator's numbers on the real validation labels, to 1e-6 percent points."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sgear.datasets.epic import load_epic100
from sgear.predictions import Predictions, score
from sgear.taxonomy import FIELDS

PROTOCOL = {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0}
SUBSETS = ("overall", "unseen", "tail")


@pytest.fixture(scope="module")
def benchmark(real_data):
    return load_epic100(real_data / "epic-kitchens-100-annotations", train_name="EPIC_100_train_rebuilt.csv")


@pytest.fixture(scope="module")
def golden(real_data):
    path = real_data.parent / "golden" / "ek100_metrics.json"
    if not path.is_file():
        pytest.skip(f"golden values not found at {path}; they lie beside the folder of SGEAR_DATA")
    return json.loads(path.read_text(encoding="utf-8"))["seeds"]


@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_equal_the_official_evaluator(benchmark, golden, draw_golden_scores, seed):
    scores = score(draw_golden_scores(benchmark, seed, PROTOCOL), subsets=benchmark.subset_masks)
    expected = golden[str(seed)]
    for field in FIELDS:
        for subset in SUBSETS:
            recall = expected["mean_top5_recall_percent"][subset][field]
            assert 100 * scores[subset][field]["recall5"] == pytest.approx(recall, rel=0, abs=1e-6), (subset, field)
        for name, accuracy in expected["accuracy_percent"][field].items():
            assert 100 * scores["overall"][field][name] == pytest.approx(accuracy, rel=0, abs=1e-6), (name, field)


@pytest.mark.data
def test_classes_and_samples_that_are_averaged_are_the_published_ones(benchmark):
    flat = Predictions(
        uids=tuple(benchmark.validation.uids),
        logits=np.zeros((len(benchmark.validation), benchmark.taxonomy.num_actions), dtype=np.float32),
        targets=benchmark.validation.column("action_id"),
        taxonomy=benchmark.taxonomy,
        protocol=PROTOCOL,
    )
    scores = score(flat, subsets=benchmark.subset_masks)
    assert [scores["overall"][field]["num_classes"] for field in FIELDS] == [78, 211, 1352]
    assert scores["overall"]["action"]["num_samples"] == 9668
    assert scores["unseen"]["action"]["num_samples"] == 1065
    assert [scores["tail"][field]["num_samples"] for field in FIELDS] == [1760, 1900, 3105]
    assert scores["tail"]["action"]["num_classes"] == 998
