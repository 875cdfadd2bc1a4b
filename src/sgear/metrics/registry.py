"""The metrics, one line each: every table, plot and command takes its scores from here.

Another package adds one by an entry point of the group `sgear.metrics`, whose module calls `register_metric`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.class_means import mean_of_present, mean_per_class
from sgear.metrics.ranks import takes_tensors
from sgear.plugins import load_plugins

ENTRY_POINTS = "sgear.metrics"
Values = NDArray[np.bool_] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score as a mean of one value per segment: over segments, or over classes.

    A value depends on its segment alone, so the same values serve subsets, bootstrap intervals and paired tests.

    Args:
        heading: What stands above its column.
        compute: Gives the value of each segment [M] in [0, 1], higher is better, from the rank of its true class [M],
            0 for the best, and the number of classes.
        class_mean: Whether the mean is over classes, each with the same weight.
        brief: Whether tables of few columns show it too.
    """

    heading: str
    compute: Callable[[NDArray[np.int64], int], Values]
    class_mean: bool
    brief: bool = True

    @property
    def title(self) -> str:
        """The heading, which says of a class-mean that it is one."""
        prefix = "class-mean "
        return self.heading if not self.class_mean or self.heading.startswith(prefix) else prefix + self.heading

    def score(
        self,
        ranks: NDArray[np.int64],
        targets: NDArray[np.int64],
        num_classes: int,
        classes: NDArray[np.int64] | None = None,
    ) -> float:
        """Return the score of segments.

        Args:
            ranks: Rank of the true class of each segment [M], see `target_ranks`.
            targets: True class of each segment [M].
            num_classes: Number of classes K.
            classes: Classes to average over, for a class-mean. Default: all that occur.

        Raises:
            ValueError: If there is no segment, or none of these classes.
        """
        if not len(ranks):
            raise ValueError("a mean over no samples is undefined")
        values = self.compute(ranks, num_classes)
        if self.class_mean:
            return mean_of_present(mean_per_class(values, targets, num_classes), classes)
        return float(values.mean())


def _top(k: int) -> Callable[[NDArray[np.int64], int], Values]:
    """Return the hits among the k best; k is cut to the number of classes."""
    return lambda ranks, num_classes: ranks < min(k, num_classes)


_METRICS = {
    "top1": Metric(heading="top-1", compute=_top(1), class_mean=False),
    "top5": Metric(heading="top-5", compute=_top(5), class_mean=False),
    "recall5": Metric(heading="recall@5", compute=_top(5), class_mean=True),
    "class_mean_top1": Metric(heading="class-mean top-1", compute=_top(1), class_mean=True, brief=False),
}


def register_metric(name: str, metric: Metric) -> None:
    """Add a metric, before anything asks for the metrics.

    Args:
        name: Its key in reports and its name in settings, e.g. `top10`.
        metric: What it is.

    Raises:
        ValueError: If there is another one of that name or heading.
    """
    headings = {each.heading: key for key, each in _METRICS.items()}
    if name in _METRICS or metric.heading in headings:
        raise ValueError(f"there is a metric {headings.get(metric.heading, name)!r} already; choose another name")
    _METRICS[name] = metric


def metrics(*, brief: bool = False) -> Mapping[str, Metric]:
    """Return all metrics by name, those of installed packages last.

    Args:
        brief: Leave out those that tables of few columns do not show.

    Raises:
        ConfigError: If an installed metric cannot be loaded.
    """
    load_plugins(ENTRY_POINTS)
    return {name: metric for name, metric in _METRICS.items() if metric.brief or not brief}


@takes_tensors
def time_to_action(hits: NDArray[np.bool_], tau_a_s: Sequence[float] | NDArray[np.floating]) -> float:
    """Return how long before its start an action is first predicted, on average over samples.

    A sample counts with the longest anticipation time at which it is a hit, even if a later answer is wrong again,
    and with 0 if it never is.

    Args:
        hits: Whether each sample is right at each anticipation time [M H], e.g. top-5 hits.
        tau_a_s: Anticipation times in seconds [H], in any order.

    Returns:
        Seconds, in [0, longest anticipation time].

    Raises:
        ValueError: If shapes disagree, there is no sample or time, or a time is not positive or occurs twice.

    Source:
        TtA(k) of Furnari and Farinella, Rolling-Unrolling LSTMs (PAMI 2020); `tta` in fpv-iplab/rulstm@41cfb73,
        RULSTM/utils.py, which is TtA(5) at 2.0, 1.75, ..., 0.25 s.

    Example:
        >>> time_to_action(np.array([[True, False], [False, True], [False, False]]), [2.0, 1.0])
        1.0
    """
    times_s = np.asarray(tau_a_s, dtype=np.float64)
    if hits.ndim != 2 or hits.shape[1:] != times_s.shape or not hits.size:
        raise ValueError(f"expected hits [M H] and tau_a_s [H], got {hits.shape} and {times_s.shape}")
    if not (times_s > 0).all() or len(np.unique(times_s)) < len(times_s):
        raise ValueError(f"anticipation times must be positive and different, got {times_s.tolist()}")
    return float(np.where(hits, times_s, 0.0).max(axis=1).mean())


def percent(value: float | None, *, digits: int = 1) -> str:
    """Format a share in [0, 1] in percent; a dash where there is none."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.{digits}f}"
