"""Pure functions from scores and targets, as numpy arrays or torch tensors, to numbers."""

from sgear.metrics.class_means import (
    class_mean_accuracy,
    class_mean_precision,
    class_mean_recall,
    precision_per_class,
    recall_per_class,
)
from sgear.metrics.probabilities import (
    Reliability,
    brier_score,
    expected_calibration_error,
    marginalize,
    negative_log_likelihood,
    reliability,
)
from sgear.metrics.ranks import target_ranks, top_k_accuracy, top_k_hits
from sgear.metrics.registry import HorizonScores, horizon_scores, time_to_action
from sgear.metrics.statistics import Interval, PairedTest, bootstrap_interval, bootstrap_statistic, paired_test

__all__ = [
    "HorizonScores",
    "Interval",
    "PairedTest",
    "Reliability",
    "bootstrap_interval",
    "bootstrap_statistic",
    "brier_score",
    "class_mean_accuracy",
    "class_mean_precision",
    "class_mean_recall",
    "expected_calibration_error",
    "horizon_scores",
    "marginalize",
    "negative_log_likelihood",
    "paired_test",
    "precision_per_class",
    "recall_per_class",
    "reliability",
    "target_ranks",
    "time_to_action",
    "top_k_accuracy",
    "top_k_hits",
]
