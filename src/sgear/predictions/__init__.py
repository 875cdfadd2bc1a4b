"""Files of scores keyed by uid, and what is computed from them alone."""

from sgear.predictions.compare import compare_predictions, score_intervals
from sgear.predictions.fusion import late_fuse
from sgear.predictions.scoring import Outcome, field_outcomes, score, times_to_action
from sgear.predictions.table import Predictions

__all__ = [
    "Outcome",
    "Predictions",
    "compare_predictions",
    "field_outcomes",
    "late_fuse",
    "score",
    "score_intervals",
    "times_to_action",
]
