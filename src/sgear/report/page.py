"""The look of figures, and what every page is made of: sections of them, put into templates that escape all else.

Figures are made without pyplot, so nothing global changes but inside `styled`. Text stays text in the SVG: it is
small, can be searched, and takes the fonts of the page.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

INK, MUTED, RULE, FAINT = "#1d2329", "#66717b", "#d5dbe0", "#f1f4f6"
ACCENT = "#1f5f8b"
HIT, MISS = "#2f7d4f", "#c0392b"
COLOURS = (
    ACCENT,
    "#c1553b",
    "#5b8c3e",
    "#8a5a9b",
    "#c0912f",
    "#3c8d8a",
    "#b0486f",
    "#7a6a55",
    "#6478b8",
    "#98a13a",
    "#d1844f",
    "#4f9fc4",
)
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "sgear", ["#ffffff", "#dbe7ef", "#9dbfd6", "#4f8ab3", "#1f5f8b", "#12344d"]
)

WIDE_IN, HALF_IN = 8.4, 4.1
_RULES = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 7.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Class names may hold dollar signs; they are names, not formulas.
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sgear",
}


def styled():
    """Return a context, usable as a decorator, in which figures have the look of the report."""
    return rc_context(_RULES)  # pyright: ignore[reportArgumentType]


def run_colours(num_runs: int) -> list[str]:
    """Return one colour per run; the last run, which the report is about, always has the accent."""
    return [COLOURS[(num_runs - 1 - position) % len(COLOURS)] for position in range(num_runs)]


def new_figure(height_in: float, *, width_in: float = WIDE_IN, num_runs: int = 1) -> Figure:
    """Return an empty figure that lays its panels out itself, with room for the names of several runs."""
    return Figure(figsize=(width_in, height_in + (0.3 if num_runs > 1 else 0)), layout="constrained")


def run_legend(
    figure: Figure, titles: Sequence[str], *, marker: str = "", colours: Sequence[str] | None = None
) -> None:
    """Name the runs above the panels; a single run needs no legend."""
    if len(titles) < 2:
        return
    handles = [
        Line2D([], [], color=colour, lw=0 if marker else 2, marker=marker or None, ms=5, label=title)
        for title, colour in zip(titles, colours or run_colours(len(titles)), strict=True)
    ]
    columns = 1 if max(len(title) for title in titles) > 45 else min(len(titles), 3)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, labelcolor="linecolor")


def write_at(axes: Axes, text: str, at: tuple[Any, Any], shift: tuple[int, int], **style: Any) -> None:
    """Write a text some points away from a place in a panel."""
    axes.annotate(text, at, shift, textcoords="offset points", **style)


def write_cells(axes: Axes, cells: NDArray, texts: Callable[[float], str], *, middle: float, size: float) -> None:
    """Write a text into each cell of a matrix; white on values above `middle`."""
    for (row, column), value in np.ndenumerate(cells):
        colour = "white" if value > middle else INK
        axes.text(column, row, texts(value), ha="center", va="center", color=colour, fontsize=size)


def grouped_bars(axes: Axes, heights: Sequence[NDArray], labels: Sequence[str], *, widest: float = 0.8, **style: Any):
    """Draw one group of bars per label, in it one bar per run, and return the places of each run's bars [R G]."""
    num_runs = len(heights)
    width = min(0.8 / num_runs, widest)
    places = np.arange(len(labels)) + (np.arange(num_runs)[:, None] - (num_runs - 1) / 2) * width
    for each, values, colour in zip(places, heights, run_colours(num_runs), strict=True):
        axes.bar(each, values, 0.92 * width, color=colour, **style)
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    percent_axis(axes, which="y")
    return places


def percent_axis(axes: Axes, *, which: str) -> None:
    """Label an axis that runs over shares in [0, 1] in percent, with a light grid."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{round(100 * value, 3):g}%")
    axes.grid(axis="x" if which == "x" else "y")


def shorten(name: str, limit: int = 26) -> str:
    """Cut a name that would push the plot aside."""
    return name if len(name) <= limit else f"{name[: limit - 2].rstrip()}.."


def to_svg(figure: Figure, label: str) -> str:
    """Return a figure as an `<svg>` element to stand inside a page.

    Args:
        figure: Drawn under `styled`.
        label: What the figure shows, for readers who cannot see it.
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")), dpi=200)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].rstrip()
    opening, body = text.split(">", 1)
    # A page takes namespaces as given; ids of groups would repeat from figure to figure.
    opening = re.sub(r' xmlns(:xlink)?="[^"]*"', "", opening)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    return f'{opening} role="img" aria-label="{escape(label, quote=True)}">{body}'


# All figures are shown at this scale, so that their letters have one size.
_PIXELS_PER_INCH = 912 / WIDE_IN


@dataclass(frozen=True)
class Section:
    """A heading, one sentence on how to read what follows, and the figures, each with what it shows."""

    title: str
    reading: str
    figures: tuple[tuple[str, Figure], ...]

    def drawn(self) -> list[tuple[int, Markup]]:
        """Return the width in pixels and the SVG of each figure."""
        return [
            # matplotlib escapes what stands in a figure, `to_svg` its label: nothing of a user's text is markup.
            (round(_PIXELS_PER_INCH * figure.get_figwidth()), Markup(to_svg(figure, label)))  # noqa: S704
            for label, figure in self.figures
        ]


@dataclass(frozen=True)
class Row:
    """A line of a table of text."""

    name: str
    cells: tuple[str, ...]
    is_bold: bool = False


@functools.cache
def _environment() -> Environment:
    # An undefined value is an error: a page never lacks a number in silence.
    return Environment(
        loader=PackageLoader("sgear.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, *, caveat: str = "", skipped: object = (), **values: Any) -> str:
    """Return a whole page.

    Args:
        template: Its file under `templates`.
        caveat: Warning that must not be overlooked.
        skipped: What was left out; see `sgear.report.tables.skipped_parts`.
        values: What the template shows; all need `kicker` (which command made the page), `heading`, and `stamp` (what
            the numbers were measured under).
    """
    return _environment().get_template(template).render(caveat=caveat, skipped=skipped, **values)
