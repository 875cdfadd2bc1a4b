"""Two models on one page: which is better, by how much, how surely, and where."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import numpy as np

from sgear.predictions import Predictions
from sgear.predictions.compare import Comparison, compare
from sgear.predictions.outcomes import field_outcomes
from sgear.predictions.scoring import Subsets
from sgear.report.comparison_figures import class_changes, difference_plot, recall_scatter
from sgear.report.contents import ReportRun
from sgear.report.html import Section
from sgear.report.page import CSS
from sgear.report.reliability_plot import calibration_of, reliability_diagram
from sgear.report.scores import percent
from sgear.report.tables import protocol_text
from sgear.taxonomy import FIELDS
from sgear.timing import VJepaProtocol

_NAMES = {"top1": "top-1", "top5": "top-5", "recall5": "recall@5"}
_SURE = 0.05


def _score_table(result: Comparison, titles: tuple[str, str]) -> str:
    head = "".join(
        f"<th>{escape(text)}</th>"
        for text in (*titles, "difference", "95 % interval", "p", "only first", "only second")
    )
    body = ""
    for row in result.scores:
        mark = " class='run'" if row.p_value < _SURE else ""
        cells = (
            percent(row.first),
            percent(row.second),
            f"{100 * row.difference:+.1f}",
            f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
            "&lt; 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}",
            f"{row.num_first_only:,}",
            f"{row.num_second_only:,}",
        )
        name = f"{row.subset} {row.field}, {_NAMES[row.metric]}"
        body += (
            f"<tr{mark}><th scope='row'>{escape(name)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    return (
        "<section><h2>Scores</h2><p class='reading'>Percent; the difference is first minus second, with a bootstrap "
        "interval over segments. p is two-sided: the exact sign test for top-1 and top-5, random swaps for the "
        f"class-mean recall; below {_SURE} the name is bold. With so many rows some will be by chance. The last "
        "columns count the segments that one model alone got right.</p><div class='scroll'><table class='scores'>"
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _agreement(first: Predictions, second: Predictions, titles: tuple[str, str]) -> str:
    lines = ""
    for field in FIELDS:
        one, other = field_outcomes(first)[field], field_outcomes(second)[field]
        for k in (1, 5):
            hits = one.hits(k), other.hits(k)
            parts = (hits[0] & hits[1], hits[0] & ~hits[1], ~hits[0] & hits[1], ~hits[0] & ~hits[1])
            cells = "".join(f"<td>{percent(float(part.mean()))}</td>" for part in parts)
            lines += f"<tr><th scope='row'>{field}, top-{k}</th>{cells}</tr>"
    head = "".join(
        f"<th>{escape(text)}</th>" for text in ("both right", f"only {titles[0]}", f"only {titles[1]}", "both wrong")
    )
    return (
        "<section><h2>Where they agree</h2><p class='reading'>Percent of all segments. Much that only one of them gets "
        "right is room for late fusion.</p><div class='scroll'><table class='scores'><thead><tr><th></th>"
        f"{head}</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def render_comparison(
    first: Predictions,
    second: Predictions,
    titles: tuple[str, str],
    *,
    subsets: Subsets | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> str:
    """Return the page; arguments and errors are those of `write_comparison`."""
    result = compare(first, second, subsets=subsets, num_resamples=num_resamples, seed=seed)
    second = second.aligned_to(first.uids)
    runs = [
        ReportRun(name=title, title=title, predictions=table, report={})
        for title, table in zip(titles, (first, second), strict=True)
    ]
    sections = [
        Section(
            "Differences",
            "First minus second, with 95 % intervals; green is better, red is worse, grey may be chance.",
            (("differences of the scores", difference_plot(result.scores)),),
        ),
        Section(
            "Actions",
            "Left: top-5 recall of each action, a dot per class, larger for commoner ones; above the line the first "
            "model is better. Right: the actions with most segments gained and lost, with their number of segments.",
            (
                ("recall of each action in both models", recall_scatter(first, second, titles)),
                ("actions gained and lost", class_changes(result.gains["action"], result.losses["action"])),
            ),
        ),
        Section(
            "Calibration",
            "On the diagonal a probability means what it says; below it the model is too sure. ECE is the mean "
            "distance from the diagonal, first model first; below, how many segments each bin holds.",
            (("reliability diagrams", reliability_diagram(runs, calibration_of(runs))),),
        ),
    ]
    caveat = (
        f"<p class='note'>{escape(VJepaProtocol.CAVEAT)}</p>" if first.protocol["kind"] == VJepaProtocol.kind else ""
    )
    heading = f"{titles[0]} against {titles[1]}"
    return "".join(
        (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{escape(heading)}</title><style>{CSS}</style></head><body><main>",
            f"<header><p class='kicker'>sgear comparison</p><h1>{escape(heading)}</h1>",
            f"<p class='stamp'>{escape(protocol_text(first.protocol))}; {len(first):,} segments of ",
            f"{len(np.unique(first.targets)):,} actions</p>{caveat}</header>",
            _score_table(result, titles),
            sections[0].to_html(),
            _agreement(first, second, titles),
            *(section.to_html() for section in sections[1:]),
            "</main></body></html>\n",
        )
    )


def write_comparison(
    first: Predictions,
    second: Predictions,
    titles: tuple[str, str],
    out: Path,
    *,
    subsets: Subsets | None = None,
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
        num_resamples: Resamples of the intervals and tests.
        seed: Their seed.

    Raises:
        PredictionError: If segments, true actions, protocol or vocabulary differ, or the true actions are not known.
    """
    page = render_comparison(first, second, titles, subsets=subsets, num_resamples=num_resamples, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, out)
