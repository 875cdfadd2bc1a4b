"""Files of scores keyed by uid, and what is computed from them alone."""

from sgear.predictions.fusion import late_fuse
from sgear.predictions.horizons import score_horizons
from sgear.predictions.outcomes import Outcome, field_outcomes
from sgear.predictions.scoring import score
from sgear.predictions.table import Predictions
from sgear.predictions.uncertainty import compare_predictions, field_reliability, score_intervals

__all__ = [
    "Outcome",
    "Predictions",
    "compare_predictions",
    "field_outcomes",
    "field_reliability",
    "late_fuse",
    "score",
    "score_horizons",
    "score_intervals",
]
