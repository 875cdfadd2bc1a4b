"""Pure functions from scores and targets to numbers."""

from sgear.metrics.accuracy import top_k_accuracy, top_k_hits
from sgear.metrics.compare import PairedTest, paired_test
from sgear.metrics.marginalize import marginalize
from sgear.metrics.recall import class_mean_recall, recall_per_class

__all__ = [
    "PairedTest",
    "class_mean_recall",
    "marginalize",
    "paired_test",
    "recall_per_class",
    "top_k_accuracy",
    "top_k_hits",
]
