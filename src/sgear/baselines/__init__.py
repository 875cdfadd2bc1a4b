"""What a model must beat: frequency, the last action and what follows it, logistic regression on pooled features."""

from sgear.baselines.annotations import annotated_samples
from sgear.baselines.base import Baseline, predict_baseline
from sgear.baselines.frequency import FrequencyBaseline, frequency_logits
from sgear.baselines.markov import MarkovBaseline
from sgear.baselines.pooled import PooledRegression

__all__ = [
    "Baseline",
    "FrequencyBaseline",
    "MarkovBaseline",
    "PooledRegression",
    "annotated_samples",
    "frequency_logits",
    "predict_baseline",
]
