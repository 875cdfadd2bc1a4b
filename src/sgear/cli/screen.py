"""The terminal: names are printed as users wrote them, and a sentence is one line, so that a command can be copied.

Rich reads `[b]` as markup and `:cup:` as an image, and both occur in names of files and classes. What would act on the
terminal, such as an escape sequence in a name, is written out. All that commands print goes through here, errors apart.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from sgear.files import visible


class Screen(Console):
    """A console on which control characters in texts are written out; colours are its own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text; here, so that the columns of a table are as wide as what is printed."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is printed, whatever it was made of."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def open_screen(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, in tables and titles too; colours are given as styles.

    Args:
        stderr: Print on standard error instead of standard output.
    """
    return Screen(stderr=stderr, markup=False, emoji=False, highlight=False)


def write_out(text: str) -> None:
    """Write lines for other programs, JSON or YAML, to standard output at once."""
    sys.stdout.write(visible(text))
    sys.stdout.flush()


def say(text: str | Text, *, style: str = "", screen: Console | None = None) -> None:
    """Print a sentence; only the terminal breaks it.

    Args:
        text: What to print.
        style: Colour and weight, as rich writes them.
        screen: Where to print. Default: standard output.
    """
    screen = open_screen() if screen is None else screen
    screen.print(text, style=style or None, markup=False, emoji=False, highlight=False, soft_wrap=True)
