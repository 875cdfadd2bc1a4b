"""Files of scores keyed by uid, and what is computed from them alone."""

from sgear.predictions.fusion import late_fuse
from sgear.predictions.horizons import times_to_action
from sgear.predictions.outcomes import Outcome, field_outcomes
from sgear.predictions.scoring import score
from sgear.predictions.table import Predictions
from sgear.predictions.uncertainty import compare_predictions, score_intervals

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
