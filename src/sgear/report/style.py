"""One look for all figures, and their way into a page as SVG.

Figures are made without pyplot, so nothing global changes but inside `STYLED`. Text stays text in the SVG: it is
small, can be searched, and takes the fonts of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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


def run_legend(
    figure: Figure, titles: Sequence[str], *, marker: str = "", colours: Sequence[str] | None = None
) -> None:
    """Name the runs above the panels; a single run needs no legend."""
    if len(titles) < 2:
        return
    handles = [
        Line2D([], [], color=colour, lw=0 if marker else 2, marker=marker or None, ms=5, label=title)
        for title, colour in zip(titles, run_colours(len(titles)) if colours is None else colours, strict=True)
    ]
    columns = 1 if max(len(title) for title in titles) > 45 else min(len(titles), 3)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, labelcolor="linecolor")


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
