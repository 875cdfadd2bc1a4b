"""A video from start to end: what happened, what had been predicted for each instant, and which starts were foreseen.

Every forecast is drawn at the time it is about, `now_s + tau_a_s`, so that truth and forecast stand in one column.
A long video is broken into staves, as music is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sgear.forecast import Forecast
from sgear.report.page import COLOURS, FAINT, HIT, INK, MISS, MUTED, RULE, WIDE_IN, shorten, styled
from sgear.report.runs import Video

_SEGMENTS_PER_STAVE = 14
_MAX_STAVES = 4
MAX_SEGMENTS = _SEGMENTS_PER_STAVE * _MAX_STAVES
_LANE_HEIGHT, _MARK_Y, _FIRST_ROW_Y = 2.1, 2.75, 3.4
_TIME_TOLERANCE_S = 1e-6
_LOOKS: dict[str, dict[str, Any]] = {
    "first in the forecast": {"marker": "o", "ms": 4, "color": HIT},
    "among those listed": {"marker": "o", "ms": 3.8, "mfc": "white", "mec": HIT, "mew": 1.1, "color": HIT},
    "not foreseen": {"marker": "x", "ms": 3.6, "mew": 1.2, "color": MISS},
    "no forecast": {"marker": "_", "ms": 4, "color": MUTED},
    "true action": {"marker": "s", "ms": 6, "mfc": "none", "mec": INK, "mew": 0.7},
}


@dataclass(frozen=True)
class Outcome:
    """How a segment's start was predicted.

    `rank` is the place of its action in the forecast, 1 is first; 0 if it is not among those listed; None where no
    forecast is about that time or earlier.
    """

    start_s: float
    action: str
    rank: int | None


def _look(rank: int | None) -> dict[str, Any]:
    return _LOOKS[{None: "no forecast", 0: "not foreseen", 1: "first in the forecast"}.get(rank, "among those listed")]


def _by_time(video: Video) -> tuple[list[Forecast], NDArray[np.float64]]:
    """Return forecasts ordered by the time they are about, and these times."""
    forecasts = sorted(video.forecasts, key=lambda forecast: forecast.now_s + forecast.tau_a_s)
    return forecasts, np.array([forecast.now_s + forecast.tau_a_s for forecast in forecasts])


def outcomes(video: Video) -> list[Outcome]:
    """Judge each segment by the newest forecast that is about its start or a time before it.

    Nothing that was observed later than tau_a before the start is used.
    """
    forecasts, abouts_s = _by_time(video)
    judged = []
    for start_s, _, action in sorted(video.truth):
        newest = int(np.searchsorted(abouts_s, start_s + _TIME_TOLERANCE_S, side="right")) - 1
        rank = None
        if newest >= 0:
            names = [name for name, _ in forecasts[newest].top]
            rank = names.index(action) + 1 if action in names else 0
        judged.append(Outcome(start_s, action, rank))
    return judged


def leading_actions(video: Video, num_actions: int) -> list[str]:
    """Return the actions that matter in a video: the true ones in order, then the others that were predicted most.

    If there are too many true ones, those that take the most time are kept.
    """
    true_s: dict[str, float] = {}
    for start_s, stop_s, action in sorted(video.truth):
        true_s[action] = true_s.get(action, 0.0) + stop_s - start_s
    kept = sorted(true_s, key=lambda action: -true_s[action])[:num_actions]
    leading = [action for action in true_s if action in kept]
    predicted: dict[str, float] = {}
    for forecast in video.forecasts:
        for action, probability in forecast.top:
            if action not in true_s:
                predicted[action] = predicted.get(action, 0.0) + probability
    return leading + sorted(predicted, key=lambda action: -predicted[action])[: num_actions - len(leading)]


def _part(video: Video, low_s: float, high_s: float) -> Video:
    """Return what concerns one stave: truth that overlaps it, and forecasts about it, newest before it included."""
    truth = tuple(segment for segment in video.truth if segment[1] > low_s and segment[0] < high_s)
    abouts_s = [forecast.now_s + forecast.tau_a_s for forecast in video.forecasts]
    before_s = max((about_s for about_s in abouts_s if about_s <= low_s), default=low_s)
    forecasts = tuple(
        forecast for forecast, about_s in zip(video.forecasts, abouts_s, strict=True) if before_s <= about_s < high_s
    )
    return Video(video.video_id, forecasts, truth)


def _write_in(axes: Axes, start_s: float, stop_s: float, name: str, points_per_s: float) -> None:
    """Write a name into its segment if it fits on at most three lines."""
    width_points = (stop_s - start_s) * points_per_s
    num_letters = int(width_points / 3.5)
    if num_letters < 2:
        return
    lines = textwrap.wrap(name, num_letters, break_long_words=False)
    if lines and len(lines) <= 3 and max(map(len, lines)) <= num_letters:
        look = {"ha": "center", "va": "center", "fontsize": 5.8, "color": "white", "linespacing": 1.05, "clip_on": True}
        axes.text((start_s + stop_s) / 2, _LANE_HEIGHT / 2, "\n".join(lines), **look)


def _draw_heat(axes: Axes, video: Video, rows: Sequence[str], colours: Sequence[str], end_s: float) -> None:
    forecasts, abouts_s = _by_time(video)
    place = {action: row for row, action in enumerate(rows)}
    probs = np.zeros((len(rows), len(forecasts)))
    for column, forecast in enumerate(forecasts):
        for action, probability in forecast.top:
            if action in place:
                probs[place[action], column] = probability
    edges_s = np.append(abouts_s, max(end_s, abouts_s[-1] + 1e-3))
    shades = np.ones((*probs.shape, 4))
    shades[..., :3] = np.array([to_rgb(colour) for colour in colours])[:, None]
    shades[..., 3] = np.clip(probs, 0, 1)
    edges_row = _FIRST_ROW_Y + np.arange(len(rows) + 1)
    axes.pcolormesh(edges_s, edges_row, shades, rasterized=True, zorder=1)


def _choose_colours(colour_of: dict[str, str], actions: Sequence[str]) -> None:
    """Give colours to the actions of a stave that have none yet, such as the stave does not have yet."""
    taken = {colour_of[action] for action in actions if action in colour_of}
    for action in actions:
        if action not in colour_of:
            # Colours given longest ago come first, so that neighbours differ where all are taken.
            latest = {colour: place for place, colour in enumerate(colour_of.values())}
            colour_of[action] = min(
                COLOURS, key=lambda colour: (colour in taken, latest.get(colour, -1), COLOURS.index(colour))
            )
            taken.add(colour_of[action])


def _draw_stave(
    axes: Axes, video: Video, colour_of: dict[str, str], span_s: tuple[float, float], num_rows: int
) -> None:
    low_s, high_s = span_s
    part = _part(video, low_s, high_s)
    rows = leading_actions(part, num_rows)
    _choose_colours(colour_of, [*rows, *(action for _, _, action in part.truth)])
    bottom = _FIRST_ROW_Y + num_rows
    points_per_s = 72 * (WIDE_IN - 1.45) / (high_s - low_s)
    for row in range(len(rows)):
        top = _FIRST_ROW_Y + row
        axes.add_patch(Rectangle((low_s, top + 0.06), high_s - low_s, 0.88, color=FAINT, lw=0, zorder=0))
    if part.forecasts:
        _draw_heat(axes, part, rows, [colour_of[action] for action in rows], high_s)
    for row in range(1, len(rows)):
        axes.axhline(_FIRST_ROW_Y + row, color="white", lw=1.2, zorder=1.5)
    starts_s = [start_s for start_s, _, _ in part.truth]
    for (start_s, stop_s, action), next_s in zip(part.truth, [*starts_s[1:], high_s], strict=True):
        left_s, right_s = max(start_s, low_s), min(stop_s, high_s)
        width_s = right_s - left_s
        axes.add_patch(
            Rectangle((left_s, 0), width_s, _LANE_HEIGHT, fc=colour_of[action], ec="white", lw=0.6, zorder=2)
        )
        # Where actions overlap, the later one covers the rest of the earlier one.
        _write_in(axes, left_s, min(right_s, next_s), action, points_per_s)
        if action in rows:
            top = _FIRST_ROW_Y + rows.index(action)
            axes.add_patch(Rectangle((left_s, top), width_s, 1, fill=False, ec=INK, lw=0.7, zorder=3))
    for outcome in outcomes(video):
        if low_s <= outcome.start_s < high_s:
            axes.plot([outcome.start_s] * 2, [_MARK_Y, bottom], color=RULE, lw=0.5, zorder=1.8)
            axes.plot(outcome.start_s, _MARK_Y, lw=0, zorder=4, clip_on=False, **_look(outcome.rank))
    axes.set_xlim(low_s, high_s)
    axes.set_ylim(bottom, -0.1)
    middles = [_LANE_HEIGHT / 2, _MARK_Y, *(_FIRST_ROW_Y + 0.5 + row for row in range(len(rows)))]
    axes.set_yticks(middles, ["what happened", "foreseen", *(shorten(action) for action in rows)])
    for label, colour in zip(axes.get_yticklabels(), [INK, INK, *(colour_of[action] for action in rows)], strict=True):
        label.set_color(colour)
    axes.tick_params(axis="y", labelsize=6.2)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.spines["left"].set_visible(False)


@styled()
def forecast_timeline(video: Video, *, num_actions: int = 14) -> Figure:
    """Draw the truth, the hits and misses at each start, and the probability of the leading actions through time.

    Forecasts may be at regular instants or one per segment. Of a very long video the first part is drawn.

    Args:
        video: A video with truth.
        num_actions: Largest number of actions that have a row of their own in a stave, >= 1.
    """
    truth = tuple(sorted(video.truth))[:MAX_SEGMENTS]
    first_s, last_s = truth[0][0], max(stop_s for _, stop_s, _ in truth)
    first_s = max(0.0, first_s - 0.01 * (last_s - first_s))
    video = Video(video.video_id, video.forecasts, truth)
    num_rows = min(num_actions, len(leading_actions(_part(video, first_s, last_s), num_actions)))
    num_staves = -(-len(truth) // _SEGMENTS_PER_STAVE)
    edges_s = np.linspace(first_s, last_s, num_staves + 1).tolist()
    stave_in = 0.118 * (_FIRST_ROW_Y + num_rows) + 0.3
    figure = Figure(figsize=(WIDE_IN, stave_in * num_staves + 0.45), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.04)  # type: ignore[union-attr]
    panels = figure.subplots(num_staves, 1, squeeze=False)[:, 0]
    colour_of: dict[str, str] = {}
    for axes, span_s in zip(panels, pairwise(edges_s), strict=True):
        _draw_stave(axes, video, colour_of, span_s, num_rows)
    panels[-1].set_xlabel("video time (s)")
    handles = [Line2D([], [], lw=0, label=name, **look) for name, look in _LOOKS.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=5, handletextpad=0.2, columnspacing=1.4)
    return figure
