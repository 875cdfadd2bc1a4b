"""Two models on one page: which is better, by how much, how surely, and where; the first has the accent color."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sgear.metrics import metrics
from sgear.metrics.class_means import mean_per_class
from sgear.metrics.registry import percent
from sgear.predictions import Predictions
from sgear.predictions.compare import ClassChange, ComparedScore, Comparison, compare
from sgear.predictions.scoring import Outcome, Subsets, field_outcomes
from sgear.report.curves import CALIBRATION_READING, reliability_diagram, reliability_tables
from sgear.report.page import (
    ACCENT,
    COLOURS,
    HALF_IN,
    INK,
    MUTED,
    RULE,
    Row,
    Section,
    new_figure,
    percent_axis,
    render,
    shorten,
    styled,
    write_at,
)
from sgear.report.runs import ReportRun
from sgear.report.tables import caveat_text, protocol_text, provenance_table, skipped_parts
from sgear.taxonomy import FIELDS, Field

SURE = 0.05
"""Largest p-value at which a difference is called one."""
FIRST, SECOND = ACCENT, COLOURS[1]
_BOTH, _NEITHER = "#5b8c3e", "#e3e8ec"
_MAX_DOT = 90.0


def _row_places(rows: Sequence[tuple[str, Field]]) -> list[float]:
    """Return a place for each row, with a gap between subsets."""
    places, place = [], 0.0
    for index, (subset, _) in enumerate(rows):
        place += 0.0 if not index else 1.0 if subset == rows[index - 1][0] else 1.6
        places.append(place)
    return places


def _name_rows(axes: Axes, rows: Sequence[tuple[str, Field]], places: Sequence[float], margin: float) -> None:
    axes.set_yticks(places, [f"{subset} {field}s" for subset, field in rows])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(places[-1] + margin, -margin)


@styled()
def difference_plot(scores: Sequence[ComparedScore], titles: tuple[str, str]) -> Figure:
    """Draw the difference of each score with its 95 % interval, one panel per kind of score.

    Where the test finds a difference, the interval has the colour of the better model.
    """
    rows: list[tuple[str, Field]] = list(dict.fromkeys((row.subset, row.field) for row in scores))
    places = dict(zip(rows, _row_places(rows), strict=True))
    names = list(dict.fromkeys(row.metric for row in scores))
    last = max(places.values())
    figure = new_figure(1.25 + 0.17 * last)
    panels = figure.subplots(1, len(names), sharey=True, sharex=True, squeeze=False)[0]
    for axes, metric in zip(panels, names, strict=True):
        axes.axvline(0, color=MUTED, lw=0.8)
        for row in scores:
            if row.metric != metric:
                continue
            place = places[row.subset, row.field]
            colour = MUTED if row.p_value >= SURE else FIRST if row.difference > 0 else SECOND
            axes.plot([row.low, row.high], [place, place], color=colour, lw=1.6, solid_capstyle="butt")
            axes.plot(row.difference, place, marker="o", ms=4, color=colour)
        axes.set_title(metrics()[metric].title)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, min_n_ticks=3))
        axes.xaxis.set_major_formatter(lambda value, _: "0" if abs(value) < 1e-9 else f"{100 * value:+g}")
        axes.grid(axis="x")
        axes.set_xlabel("points")
    _name_rows(panels[0], rows, list(places.values()), 0.7)
    names = (*(f"{shorten(title, 40)} is better" for title in titles), "may be chance")
    handles = [
        Line2D([], [], color=colour, lw=1.6, marker="o", ms=4, label=name)
        for colour, name in zip((FIRST, SECOND, MUTED), names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, labelcolor="linecolor")
    return figure


@styled()
def agreement_bars(
    rows: Sequence[tuple[str, Field]], shares: dict[int, NDArray[np.float64]], titles: tuple[str, str]
) -> Figure:
    """Draw how many segments both models, one alone, or neither got right, one panel per number of guesses.

    Args:
        rows: Subset and field of each row.
        shares: For k guesses, the shares of both right, only the first, only the second, both wrong [R 4].
        titles: Names of the two models.
    """
    places = _row_places(rows)
    figure = new_figure(1.1 + 0.2 * places[-1])
    panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    colours = (_BOTH, FIRST, SECOND, _NEITHER)
    for axes, (k, table) in zip(panels, shares.items(), strict=True):
        left = np.zeros(len(rows))
        for column, colour in enumerate(colours):
            axes.barh(places, table[:, column], 0.82, left=left, color=colour, alpha=0.88)
            for place, start, share in zip(places, left, table[:, column], strict=True):
                if share >= 0.06:
                    text = f"{100 * share:.0f}"
                    ink = INK if colour == _NEITHER else "white"
                    axes.text(start + share / 2, place, text, ha="center", va="center", color=ink, fontsize=6.2)
            left += table[:, column]
        axes.set_title(f"right: among the {k} best" if k > 1 else "right: the best")
        axes.set_xlim(0, 1)
        percent_axis(axes, which="x")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    _name_rows(panels[0], rows, places, 0.6)
    names = ("both right", f"only {shorten(titles[0], 30)}", f"only {shorten(titles[1], 30)}", "both wrong")
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


@styled()
def recall_scatter(first: dict[Field, Outcome], second: dict[Field, Outcome], titles: tuple[str, str]) -> Figure:
    """Draw the top-5 recall of each class in one model against the other; the area of a dot is its segments."""
    figure = new_figure(3.25)
    panels = figure.subplots(1, len(FIELDS), sharey=True)
    rng = np.random.default_rng(0)
    for axes, field in zip(panels, FIELDS, strict=True):
        recalls, counts = class_recalls(first[field], second[field])
        shown = np.flatnonzero(counts)
        # Small classes have few possible recalls; without some scatter hundreds of dots would be one.
        x, y = (values[shown] + rng.normal(0, 0.008, len(shown)) for values in (recalls[1], recalls[0]))
        sizes = 4 + _MAX_DOT * counts[shown] / counts.max()
        difference = recalls[0][shown] - recalls[1][shown]
        colours = np.where(difference > 0, FIRST, np.where(difference < 0, SECOND, MUTED))
        axes.plot([0, 1], [0, 1], color=RULE, lw=1, zorder=1)
        axes.scatter(x, y, s=sizes, color=colours, alpha=0.35, linewidths=0, rasterized=len(shown) > 500, zorder=2)
        axes.set_title(f"{len(shown):,} {field}s")
        axes.set_xlim(-0.05, 1.05)
        axes.set_ylim(-0.05, 1.05)
        axes.set_aspect("equal")
        percent_axis(axes, which="x")
        percent_axis(axes, which="y")
        axes.grid(axis="both")
        axes.set_xlabel(shorten(titles[1], 34), color=SECOND)
    panels[0].set_ylabel(shorten(titles[0], 34), color=FIRST)
    return figure


def class_recalls(first: Outcome, second: Outcome) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Return the top-5 recall of each class in both models [K], NaN without segments, and its segments [K]."""
    recalls = [mean_per_class(each.hits(5), each.targets, each.num_classes) for each in (first, second)]
    return recalls, np.bincount(first.targets, minlength=first.num_classes)


@styled()
def class_changes(gains: Sequence[ClassChange], losses: Sequence[ClassChange], field: Field) -> Figure:
    """Draw the classes that gained and lost most: hits of the first model less those of the second."""
    rows = [*gains, *reversed(losses)]
    figure = new_figure(0.75 + 0.19 * len(rows), width_in=HALF_IN)
    axes = figure.subplots()
    colours = [FIRST if row.num_hits > 0 else SECOND for row in rows]
    axes.barh(range(len(rows)), [row.num_hits for row in rows], color=colours, height=0.72, alpha=0.88)
    axes.axvline(0, color=INK, lw=0.7)
    for place, row in enumerate(rows):
        side = 1 if row.num_hits > 0 else -1
        text, align = f"{100 * row.first:.0f} : {100 * row.second:.0f}", "left" if side > 0 else "right"
        write_at(axes, text, (row.num_hits, place), (3 * side, 0), ha=align, va="center", fontsize=6, color=MUTED)
    axes.set_yticks(range(len(rows)), [f"{shorten(row.name, 22)}  {row.num_samples:,}" for row in rows])
    axes.tick_params(axis="y", labelsize=6.5, labelcolor=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.24)
    axes.set_title(f"{field}s")
    axes.set_xlabel("segments gained or lost")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.grid(axis="x")
    return figure


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
        tables = reliability_tables(outcomes, masks)
        figure = reliability_diagram(tables, titles, colours=[FIRST, SECOND])
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
    """Return the comparison of two models as one self-contained HTML page.

    Args:
        first: Scores of a whole split.
        second: Other scores of the same segments, in any order.
        titles: Names of the two.
        subsets: Masks of subsets in the order of `first`.
        result: Result of `compare` on the same arguments, where it is known already. Default: it is computed.
        num_resamples: Resamples of the intervals and tests.
        seed: Their seed.

    Raises:
        PredictionError: If segments, true actions, protocol or vocabulary differ, or the true actions are not known.
    """
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
