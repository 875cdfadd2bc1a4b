"""Pure functions from scores and targets, as numpy arrays or torch tensors, to numbers."""

from sgear.metrics.class_means import class_mean_precision, class_mean_recall, precision_per_class, recall_per_class
from sgear.metrics.probabilities import Reliability, marginalize, reliability
from sgear.metrics.ranks import target_ranks, top_k_accuracy, top_k_hits
from sgear.metrics.registry import Metric, metrics, register_metric, time_to_action
from sgear.metrics.statistics import Interval, PairedTest, bootstrap_interval, bootstrap_statistic, paired_test

__all__ = [
    "Interval",
    "Metric",
    "PairedTest",
    "Reliability",
    "bootstrap_interval",
    "bootstrap_statistic",
    "class_mean_precision",
    "class_mean_recall",
    "marginalize",
    "metrics",
    "paired_test",
    "precision_per_class",
    "recall_per_class",
    "register_metric",
    "reliability",
    "target_ranks",
    "time_to_action",
    "top_k_accuracy",
    "top_k_hits",
]
