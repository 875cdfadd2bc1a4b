"""The horizon curve: scores against the time between the last frame seen and the action."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from sgear.metrics import metrics
from sgear.report.contents import ReportRun
from sgear.report.style import MUTED, WIDE_IN, percent_axis, run_colours, run_legend, styled


@styled()
def horizon_curve(runs: Sequence[ReportRun], titles: Sequence[str]) -> Figure | None:
    """Draw one panel per score, one line per run; a ring marks the anticipation time the run was trained at.

    Args:
        runs: All runs of the report; those without horizons are not drawn.
        titles: One name per run.

    Returns:
        The figure, or None if no run was evaluated at several anticipation times.
    """
    drawn = [
        (run.horizons, title, colour)
        for run, title, colour in zip(runs, titles, run_colours(len(runs)), strict=True)
        if run.horizons is not None
    ]
    if not drawn:
        return None
    figure = Figure(figsize=(WIDE_IN, 2.1 + (0.3 if len(runs) > 1 else 0)), layout="constrained")
    shown = list(metrics(brief=True).items())[::-1]
    panels = figure.subplots(1, len(shown))
    for axes, (name, metric) in zip(panels, shown, strict=True):
        for horizons, _, colour in drawn:
            at_times = horizons["scores"].items()
            # A run that was evaluated before a metric was installed has no such numbers.
            points = sorted((float(tau_a), scores["action"].get(name, float("nan"))) for tau_a, scores in at_times)
            # Marks are whole also where they stand on the edge of the panel.
            axes.plot(*zip(*points, strict=True), color=colour, lw=1.5, marker="o", ms=3, clip_on=False)
            trained = [point for point in points if abs(point[0] - horizons["trained_tau_a_s"]) < 1e-6]
            if trained:
                axes.plot(*trained[0], marker="o", ms=8, mfc="none", mec=colour, mew=1.0, clip_on=False)
        axes.set_title(metric.title)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.invert_xaxis()
        axes.set_xlabel("tau_a (s)", color=MUTED)
        percent_axis(axes, which="y")
    run_legend(figure, titles)
    return figure
