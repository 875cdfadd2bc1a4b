"""The page on how to add a metric: its code, installed as a package of somebody else, runs."""

import numpy as np
import pytest
from installed import install

from sgear.metrics import metrics
from sgear.metrics.registry import _METRICS


def test_the_metric_of_the_page_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("sgear.metrics.registry._METRICS", dict(_METRICS))
    install(tmp_path, "add-metric.md", monkeypatch)
    metric = metrics()["top10"]
    assert metric.heading == "top-10"
    np.testing.assert_array_equal(metric.compute(np.array([0, 9, 10]), 30), [True, True, False])
    with pytest.raises(KeyError):
        _METRICS["top10"]
