"""Two models on one page: which is better, by how much, how surely, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.metrics import metrics
from sgear.metrics.registry import percent
from sgear.predictions import Predictions
from sgear.predictions.compare import Comparison, compare
from sgear.predictions.scoring import Outcome, Subsets, field_outcomes
from sgear.report.calibration import CALIBRATION_READING, Calibration, reliability_diagram, reliability_tables
from sgear.report.comparison_figures import (
    SURE,
    agreement_bars,
    class_changes,
    difference_plot,
    model_colours,
    recall_scatter,
)
from sgear.report.contents import ReportRun
from sgear.report.page import Row, Section, render, write_page
from sgear.report.style import shorten
from sgear.report.tables import caveat_text, protocol_text, provenance_table, skipped_parts
from sgear.taxonomy import FIELDS, Field

_GUESSES = (1, 5)

_Outcomes = dict[Field, Outcome]


def _p_text(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _points(difference: float) -> str:
    """Format a difference of shares in percent points, always with a sign; what rounds to 0 is +0.0."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def _short(titles: tuple[str, str]) -> tuple[str, str]:
    """Cut titles that would push a table beyond the page; the heading has them whole."""
    return shorten(titles[0]), shorten(titles[1])


def _score_table(result: Comparison, titles: tuple[str, str]) -> dict[str, object]:
    head = (*_short(titles), "difference", "95% interval", "p", "only first", "only second")
    rows = []
    for row in result.scores:
        cells = (
            percent(row.first),
            percent(row.second),
            _points(row.difference),
            f"{_points(row.low)} to {_points(row.high)}",
            _p_text(row.p_value),
            f"{row.num_first_only:,}",
            f"{row.num_second_only:,}",
        )
        name = f"{row.subset} {row.field}, {metrics()[row.metric].heading}"
        rows.append(Row(name, cells, row.p_value < SURE))
    return {"head": head, "rows": rows}


def verdict(result: Comparison, titles: tuple[str, str]) -> str:
    """Return in one sentence which model is better in overall action recall, and how surely."""
    row = next(row for row in result.scores if (row.subset, row.field, row.metric) == ("overall", "action", "recall5"))
    numbers = (
        f"{titles[0]} {percent(row.first)}, {titles[1]} {percent(row.second)}; difference {_points(row.difference)} "
        f"points (95% interval {_points(row.low)} to {_points(row.high)}), p {_p_text(row.p_value)}"
    )
    if row.p_value >= SURE:
        return f"Class-mean recall@5 of actions does not tell the two apart: {numbers}."
    better = titles[0] if row.difference > 0 else titles[1]
    return f"By class-mean recall@5 of actions {better} is better: {numbers}."


def agreement(first: Outcome, second: Outcome, rows: NDArray[np.bool_], k: int) -> list[int]:
    """Return the number of segments that both, only the first, only the second and neither got right."""
    one, other = first.hits(k)[rows], second.hits(k)[rows]
    return [int(part.sum()) for part in (one & other, one & ~other, ~one & other, ~one & ~other)]


def _agreement(
    first: _Outcomes, second: _Outcomes, groups: Subsets, titles: tuple[str, str]
) -> tuple[Section, dict[str, object]]:
    """Return the figure of who is right where, and the table of its numbers."""
    places: list[tuple[str, Field]] = [
        (subset, field) for subset, masks in groups.items() for field in FIELDS if masks[field].any()
    ]
    numbers = {
        k: np.array([agreement(first[field], second[field], groups[subset][field], k) for subset, field in places])
        for k in _GUESSES
    }
    shares = {k: table / table.sum(axis=1, keepdims=True) for k, table in numbers.items()}
    section = Section(
        "Where they agree",
        "Share of the segments in percent, and below in numbers. What only one of them gets right is room for late "
        "fusion.",
        (("segments right in both, one or neither", agreement_bars(places, shares, titles)),),
    )
    rows = [
        Row(f"{subset} {field}, top-{k}", tuple(f"{number:,}" for number in numbers[k][place]))
        for place, (subset, field) in enumerate(places)
        for k in _GUESSES
    ]
    one, other = _short(titles)
    return section, {"head": ("both right", f"only {one}", f"only {other}", "both wrong"), "rows": rows}


def _changes_section(result: Comparison) -> list[Section]:
    figures = tuple(
        (f"{field}s gained and lost", class_changes(result.gains[field], result.losses[field], field))
        for field in reversed(FIELDS)
        if result.gains[field] or result.losses[field]
    )
    reading = (
        "Classes on which the first model has most more, and most fewer, segments among its five best than the second; "
        "beside each name its number of segments, beside each bar the recalls of both in percent."
    )
    return [Section("Classes gained and lost", reading, figures)] if figures else []


def _calibration_sections(outcomes: Sequence[_Outcomes], groups: Subsets, titles: tuple[str, str]) -> list[Section]:
    sections = []
    for subset, masks in groups.items():
        tables: Calibration = reliability_tables(outcomes, masks)
        figure = reliability_diagram(tables, titles, colours=model_colours())
        is_whole = subset == "overall"
        title = "Calibration" if is_whole else f"Calibration, {subset}"
        reading = CALIBRATION_READING if is_whole else f"The same for the segments of the subset {subset}."
        sections.append(Section(title, reading, ((f"reliability diagrams, {subset}", figure),)))
    return sections


def render_comparison(
    first: Predictions,
    second: Predictions,
    titles: tuple[str, str],
    *,
    subsets: Subsets | None = None,
    result: Comparison | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> str:
    """Return the page; arguments and errors are those of `write_comparison`."""
    if result is None:
        result = compare(first, second, subsets=subsets, num_resamples=num_resamples, seed=seed)
    # A comparison that was made elsewhere says nothing about these two tables.
    first.check_comparable(second)
    second = second.aligned_to(first.uids)
    outcomes = field_outcomes(first), field_outcomes(second)
    everything: dict[Field, NDArray[np.bool_]] = dict.fromkeys(FIELDS, np.ones(len(first), dtype=np.bool_))
    groups: Subsets = {"overall": everything, **(subsets or {})}
    runs = [
        ReportRun(name=title, title=title, predictions=table, report={}, provenance=table.provenance)
        for title, table in zip(titles, (first, second), strict=True)
    ]
    differences = Section(
        "Differences",
        f"{verdict(result, titles)} Below, every score: first minus second, with its 95% interval; in colour where "
        f"p is below {SURE}.",
        (("differences of the scores", difference_plot(result.scores, titles)),),
    )
    recalls = Section(
        "Recall of each class",
        "One dot per class, its area the number of evaluated segments (slightly scattered so that dots do not hide "
        "each other): above the diagonal the first model finds more of them among its five best, below the second.",
        (("recall of each class in both models", recall_scatter(*outcomes, titles)),),
    )
    agreeing, numbers = _agreement(*outcomes, groups, titles)
    num_actions = len(np.unique(first.targets))
    return render(
        "comparison.html",
        kicker="sgear comparison",
        heading=f"{titles[0]} against {titles[1]}",
        stamp=f"{protocol_text(first.protocol)}; {len(first):,} segments of {num_actions:,} actions",
        caveat=caveat_text(runs),
        skipped=skipped_parts(runs),
        differences=differences,
        sure=SURE,
        scores=_score_table(result, titles),
        agreement=agreeing,
        numbers=numbers,
        sections=[recalls, *_changes_section(result), *_calibration_sections(outcomes, groups, titles)],
        provenance=provenance_table(runs),
    )


def write_comparison(
    first: Predictions,
    second: Predictions,
    titles: tuple[str, str],
    out: Path,
    *,
    subsets: Subsets | None = None,
    result: Comparison | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Write the comparison of two models as one self-contained HTML file, whole or not at all.

    Args:
        first: Scores of a whole split.
        second: Other scores of the same segments, in any order.
        titles: Names of the two.
        out: File to write.
        subsets: Masks of subsets in the order of `first`.
        result: Result of `compare` on the same arguments, where it is known already. Default: it is computed.
        num_resamples: Resamples of the intervals and tests.
        seed: Their seed.

    Raises:
        PredictionError: If segments, true actions, protocol or vocabulary differ, or the true actions are not known.
    """
    page = render_comparison(
        first, second, titles, subsets=subsets, result=result, num_resamples=num_resamples, seed=seed
    )
    write_page(page, out)
