"""What a report is made of, and the check that its numbers may stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sgear.datasets import Benchmark
from sgear.errors import PredictionError
from sgear.forecast import Forecast
from sgear.predictions import Predictions
from sgear.predictions.scoring import evaluated_rows

FREQUENCY_BASELINE = "frequency baseline"
BAYES_CEILING = "Bayes ceiling"


@dataclass(frozen=True, kw_only=True)
class ReportRun:
    """One run, read from its directory.

    Args:
        name: Name of the folder.
        title: Name shown to the reader.
        predictions: Scores on the validation split.
        report: Content of `report.json`; its scores are the numbers shown.
        log: Lines of `metrics.jsonl`, in order.
        visual: Visual prototypes, where the model has them.
        language: Language prototypes, where the run used them.
        provenance: Content of `run.json`.
        horizons: Content of `horizons.json`, where the run was evaluated at several anticipation times.
    """

    name: str
    title: str
    predictions: Predictions
    report: dict
    log: tuple[dict, ...] = ()
    visual: Float[Tensor, "A D"] | None = None
    language: Float[Tensor, "A E"] | None = None
    provenance: dict = field(default_factory=dict)
    horizons: dict | None = None


@dataclass(frozen=True)
class Reference:
    """Scores that no run produced: what counting reaches, or what nobody can exceed.

    Args:
        name: `FREQUENCY_BASELINE`, `BAYES_CEILING`, or any other; only the ceiling stands below the runs.
        scores: In [0, 1], by the keys of `sgear.report.tables.score_columns`; `top1`, `top5` and `recall5` at least.
        note: One sentence on how the numbers came about.
    """

    name: str
    scores: dict[str, float]
    note: str


@dataclass(frozen=True)
class Video:
    """Forecasts of one video beside what really happened.

    Args:
        video_id: The video.
        forecasts: What was said, and when.
        truth: (start_s, stop_s, action name) of each annotated action.
    """

    video_id: str
    forecasts: tuple[Forecast, ...]
    truth: tuple[tuple[float, float, str], ...]


def aligned_runs(runs: Sequence[ReportRun], benchmark: Benchmark) -> tuple[ReportRun, ...]:
    """Return the runs with their predictions in the order of the benchmark's validation segments.

    Raises:
        ValueError: If there is no run.
        PredictionError: If protocol, vocabulary, segments or true actions differ between runs or from the benchmark.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    uids = tuple(benchmark.validation.uids)
    truth = benchmark.validation.column("action_id")
    aligned: list[ReportRun] = []
    for run in runs:
        try:
            runs[0].predictions.check_comparable(run.predictions)
            if run.predictions.taxonomy.digest != benchmark.taxonomy.digest:
                raise PredictionError(f"made for another vocabulary than {benchmark.name} has now")
            predictions = run.predictions.aligned_to(uids)
            if not np.array_equal(predictions.targets, truth):
                raise PredictionError(f"the true actions are not those of {benchmark.name} as it is now")
        except PredictionError as err:
            pair = run.name if run is runs[0] else f"{runs[0].name} and {run.name}"
            raise PredictionError(f"{pair}: no common report is possible, {err}") from err
        aligned.append(replace(run, predictions=predictions))
    return tuple(aligned)


def evaluated_runs(runs: Sequence[ReportRun], benchmark: Benchmark) -> tuple[tuple[ReportRun, ...], Benchmark]:
    """Return runs and benchmark without the segments that the protocol of the runs leaves out of the score.

    Args:
        runs: Aligned runs; see `aligned_runs`.
        benchmark: Their benchmark.
    """
    is_kept = evaluated_rows(runs[0].predictions, benchmark.trained_action_mask)
    if is_kept.all():
        return tuple(runs), benchmark
    rows = np.flatnonzero(is_kept)
    kept = tuple(replace(run, predictions=run.predictions.take(rows)) for run in runs)
    return kept, replace(benchmark, validation=benchmark.validation.take(is_kept))


def distinct_titles(runs: Sequence[ReportRun]) -> list[str]:
    """Return one title per run; where titles repeat, the seed and then the position tell them apart."""
    titles = [run.title for run in runs]
    if len(set(titles)) < len(titles):
        titles = [f"{run.title}, seed {run.provenance.get('seed', 'unknown')}" for run in runs]
    if len(set(titles)) < len(titles):
        titles = [f"{title} ({position})" for position, title in enumerate(titles, start=1)]
    return titles
