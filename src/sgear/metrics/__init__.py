"""Pure functions from scores and targets, as numpy arrays or torch tensors, to numbers."""

from sgear.metrics.accuracy import top_k_accuracy, top_k_hits
from sgear.metrics.bootstrap import Interval, bootstrap_interval, bootstrap_statistic
from sgear.metrics.calibration import (
    Reliability,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from sgear.metrics.compare import PairedTest, paired_test
from sgear.metrics.horizons import HorizonScores, horizon_scores, time_to_action
from sgear.metrics.marginalize import marginalize
from sgear.metrics.precision import class_mean_precision, precision_per_class
from sgear.metrics.ranks import target_ranks
from sgear.metrics.recall import class_mean_accuracy, class_mean_recall, recall_per_class

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
