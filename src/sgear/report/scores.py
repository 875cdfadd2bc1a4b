"""The score table of a report: the same rows for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sgear.metrics import metrics
from sgear.report.contents import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    Reference,
    ReportRun,
    distinct_titles,
)
from sgear.taxonomy import Field


@dataclass(frozen=True)
class Column:
    """A number of the table: where it stands in a run's report, and its heading.

    Args:
        key: Name of the number here and in `Reference.scores`.
        subset: Entry of `report["scores"]`.
        field: Entry of that.
        metric: Number within that entry.
        heading: Text above the column.
    """

    key: str
    subset: str
    field: Field
    metric: str
    heading: str


_OTHER_COLUMNS = (
    Column("verb_recall5", "overall", "verb", "recall5", "verb"),
    Column("noun_recall5", "overall", "noun", "recall5", "noun"),
    Column("unseen_recall5", "unseen", "action", "recall5", "unseen"),
    Column("tail_recall5", "tail", "action", "recall5", "tail"),
)


def score_columns() -> tuple[Column, ...]:
    """Return all columns: the metrics of the actions, then the recall of parts and subsets."""
    shown = metrics(brief=True).items()
    return (*(Column(name, "overall", "action", name, metric.heading) for name, metric in shown), *_OTHER_COLUMNS)


SHARED = ("top1", "top5", "recall5")
"""The numbers that every reference has."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of the table.

    Args:
        name: Title of the run or name of the reference.
        kind: `reference`, `run` or `ceiling`.
        values: Number of each column key in [0, 1]; a key is absent where the number does not exist.
        shares: For runs, share of the way from the frequency baseline to the ceiling, by the keys of `SHARED`; below
            0 for a run that is worse than counting, empty without both references.
    """

    name: str
    kind: Literal["reference", "run", "ceiling"]
    values: dict[str, float]
    shares: dict[str, float]


def run_scores(report: dict) -> dict[str, float]:
    """Return the numbers of a run's report by column key."""
    scores = report["scores"]
    return {
        column.key: scores[column.subset][column.field][column.metric]
        for column in score_columns()
        if column.field in scores.get(column.subset, {})
    }


def score_rows(runs: Sequence[ReportRun], references: Sequence[Reference]) -> list[ScoreRow]:
    """Return the lines of the table: references, runs, and the ceiling last."""
    by_name = {reference.name: reference.scores for reference in references}
    low, high = by_name.get(FREQUENCY_BASELINE), by_name.get(BAYES_CEILING)

    def shares_of(values: dict[str, float]) -> dict[str, float]:
        if low is None or high is None:
            return {}
        return {key: (values[key] - low[key]) / (high[key] - low[key]) for key in SHARED if high[key] > low[key]}

    rows = [
        ScoreRow(reference.name, "reference", reference.scores, {})
        for reference in references
        if reference.name != BAYES_CEILING
    ]
    for run, title in zip(runs, distinct_titles(runs), strict=True):
        values = run_scores(run.report)
        rows.append(ScoreRow(title, "run", values, shares_of(values)))
    if high is not None:
        rows.append(ScoreRow(BAYES_CEILING, "ceiling", high, {}))
    return rows


def used_columns(rows: Sequence[ScoreRow]) -> list[Column]:
    """Return the columns in which some row has a number."""
    return [column for column in score_columns() if any(column.key in row.values for row in rows)]
