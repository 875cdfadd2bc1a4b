"""The terminal: what commands print, how far they are, the numbers and pages users name, and files that fail.

Rich reads `[b]` as markup and `:cup:` as an emoji, and both occur in names of files and classes: so all text but errors
is printed through here, where what would act on the terminal, such as an escape sequence in a name, is written out.
"""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

import sgear
from sgear.errors import ConfigError
from sgear.files import require_writable, visible
from sgear.workers import VideoProgress


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


_ENDINGS = (".html", ".htm")


def require_page(out: Path) -> None:
    """Check that a page can be written to a file, before the work whose result it will show.

    Raises:
        ConfigError: If its name is not that of a page.
        WriteError: If it cannot be written there.
    """
    if out.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"--out {out}: the page is written as HTML; give a name that ends in .html")
    require_writable(out)


def parse_numbers(text: str, option: str) -> list[float] | None:
    """Return the numbers of an option; None for an empty one.

    Raises:
        ConfigError: If a word is no number.
    """
    try:
        return [float(word) for word in text.replace(",", " ").split()] or None
    except ValueError as err:
        raise ConfigError(f"{option} {text!r}: expected numbers such as '2.5 0.5'") from err


def parse_integers(text: str, option: str) -> list[int] | None:
    """Return the whole numbers of an option; None for an empty one.

    Raises:
        ConfigError: If a word is no whole number.
    """
    try:
        return [int(word) for word in text.replace(",", " ").split()] or None
    except ValueError as err:
        raise ConfigError(f"{option} {text!r}: expected whole numbers such as '1 3 4'") from err


def plain_table(title: str | None = None, *, left: Iterable[str] = (), right: Iterable[str] = ()) -> Table:
    """Return a table with a line under its head; columns on the left hold words, those on the right numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in left:
        table.add_column(heading, no_wrap=True)
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def warn(texts: Iterable[str], *, screen: Console | None = None) -> None:
    """Print a warning for each text."""
    for text in texts:
        say(f"warning: {text}", style="yellow", screen=screen)


@contextmanager
def progress_bar(text: str, *, as_share: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar, with counts or the share that is done, and give the function that moves it: (done, all)."""
    number = TaskProgressColumn() if as_share else MofNCompleteColumn()
    columns = (TextColumn(text), BarColumn(), number, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=open_screen()) as bar:
        task = bar.add_task(text, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


_LINE_EVERY_S = 30.0


@contextmanager
def video_progress(screen: Console, text: str, *, line_every_s: float = _LINE_EVERY_S) -> Iterator[VideoProgress]:
    """Show finished videos, and seconds of video for the estimate of what remains.

    Args:
        screen: Where; what is no terminal gets lines.
        text: What is done to the videos, such as `copying`.
        line_every_s: Least time between two lines in seconds.
    """
    if not screen.is_terminal:
        yield _Lines(screen, text, line_every_s)
        return
    columns = (
        TextColumn(text),
        BarColumn(),
        TextColumn("{task.fields[videos]}"),
        TextColumn("{task.fields[clock]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # The estimate looks back over minutes, as videos differ in size and rate.
    with Progress(*columns, console=screen, speed_estimate_period=300.0) as bar:
        task = bar.add_task(text, total=None, videos="", clock="")

        def report(num_done: int, num_videos: int, done_s: float, total_s: float) -> None:
            videos, clock = f"{num_done}/{num_videos} videos", f"{clock_text(done_s)} of {clock_text(total_s)}"
            bar.update(task, completed=done_s, total=total_s or None, videos=videos, clock=clock)

        yield report


class _Lines:
    """Prints a line when the work begins, now and then, and when all videos are done."""

    def __init__(self, screen: Console, text: str, every_s: float) -> None:
        self._screen, self._text, self._every_s = screen, text, every_s
        self._begin_s = time.monotonic()
        self._told_s = self._begin_s - every_s

    def __call__(self, num_done: int, num_videos: int, done_s: float, total_s: float) -> None:
        now_s = time.monotonic()
        if num_done < num_videos and now_s - self._told_s < self._every_s:
            return
        self._told_s = now_s
        passed_s = now_s - self._begin_s
        left = f", about {clock_text(passed_s * (total_s / done_s - 1))} left" if 0 < done_s < total_s else ""
        clock = f"{clock_text(done_s)} of {clock_text(total_s)}"
        say(
            f"{self._text}: {num_done}/{num_videos} videos, {clock} of video, {clock_text(passed_s)} passed{left}",
            screen=self._screen,
        )


def clock_text(seconds: float) -> str:
    """Return H:MM:SS."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


_ELSEWHERE = "choose another place"
_REMEDIES = {
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of this path is a file and no folder", _ELSEWHERE),
    errno.EISDIR: ("is a folder, expected a file", "add the name of a file"),
    errno.EEXIST: ("is there already", "choose another name, or delete it"),
    errno.EACCES: ("you may not read or write it", f"ask for the permission, or {_ELSEWHERE}"),
    errno.EPERM: ("you may not do this here", f"ask for the permission, or {_ELSEWHERE}"),
    errno.EROFS: ("its file system is read-only", _ELSEWHERE),
    errno.ENAMETOOLONG: ("the name is too long", "shorten it"),
    errno.ELOOP: ("a link that leads to itself", "check the path"),
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def file_message(err: OSError) -> str | None:
    """Return what to tell the user about an error of the operating system.

    Args:
        err: The error.

    Returns:
        `FILE: reason; remedy`, or None for an error that is no user's.
    """
    # A rename has two files; the second is the one that was asked for.
    name = err.filename if err.filename2 is None else err.filename2
    if err.errno in _FULL:
        place = "" if name is None else f"{os.fsdecode(name)}: "
        return f"{place}no space left on the disk; free some, or {_ELSEWHERE}"
    if not isinstance(name, str | bytes | os.PathLike) or err.errno not in _REMEDIES:
        return None
    path = Path(os.fsdecode(name))
    if _is_installed(path):
        return None
    reason, remedy = _REMEDIES[err.errno]
    return f"{path}: {reason}; {remedy}"


def _is_installed(path: Path) -> bool:
    folders = [Path(sgear.__file__).parent, *map(Path, (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")))]
    return any(path.absolute().is_relative_to(folder.resolve()) for folder in folders)
