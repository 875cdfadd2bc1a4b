"""What a model must beat: frequency, Markov on the recognised past, logistic regression on pooled features."""

from sgear.baselines.frequency import frequency_logits
from sgear.baselines.markov import MarkovBaseline
from sgear.baselines.pooled import PooledRegression

__all__ = ["MarkovBaseline", "PooledRegression", "frequency_logits"]
