"""How far work on many videos is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sgear.cli.screen import say
from sgear.workers import VideoProgress

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
