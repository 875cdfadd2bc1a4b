"""Files of scores keyed by uid, and what is computed from them alone."""

from sgear.predictions.fusion import late_fuse
from sgear.predictions.scoring import score
from sgear.predictions.table import Predictions

__all__ = ["Predictions", "late_fuse", "score"]
