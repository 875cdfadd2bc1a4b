"""What every page is made of: sections with figures, put into templates that escape all but our own drawings."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from sgear.files import write_whole
from sgear.report.style import WIDE_IN, to_svg

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


def render(
    template: str, *, kicker: str, heading: str, stamp: str, caveat: str = "", skipped: object = (), **values: Any
) -> str:
    """Return a whole page.

    Args:
        template: Its file under `templates`.
        kicker: Small line above the heading: which command made the page.
        heading: Title.
        stamp: Line below it: what the numbers were measured under.
        caveat: Warning that must not be overlooked.
        skipped: What was left out; see `sgear.report.tables.skipped_parts`.
        values: What the template shows.
    """
    frame: Mapping[str, object] = {
        "kicker": kicker,
        "heading": heading,
        "stamp": stamp,
        "caveat": caveat,
        "skipped": skipped,
    }
    return _environment().get_template(template).render(**frame, **values)


def write_page(page: str, out: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        WriteError: If it cannot be written there.
    """
    write_whole(out, page.encode("utf-8"))
