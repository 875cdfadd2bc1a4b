"""The terminal: names are printed as users wrote them, and a sentence is one line, so that a command can be copied.

Rich reads `[b]` as markup and `:cup:` as a picture, and both occur in names of files and classes.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def open_screen(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is, in tables and titles too; colours are given as styles.

    Args:
        stderr: Print on standard error instead of standard output.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(text: str | Text, *, style: str = "", screen: Console | None = None) -> None:
    """Print a sentence; only the terminal breaks it.

    Args:
        text: What to print.
        style: Colour and weight, as rich writes them.
        screen: Where to print. Default: standard output.
    """
    screen = open_screen() if screen is None else screen
    screen.print(text, style=style or None, markup=False, emoji=False, highlight=False, soft_wrap=True)
