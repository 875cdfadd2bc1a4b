"""What `sgear data transcode` prints: how far it is in seconds of video, and what was done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgear.cli.screen import open_screen, say
from sgear.cli.video_progress import clock_text, video_progress
from sgear.errors import ConfigError
from sgear.video.find import PassedOver, counted
from sgear.video.training_copy import CopySettings
from sgear.video.transcode import Transcoding, plan_copies, transcode


def run_transcode(
    places: Sequence[Path],
    out: Path,
    *,
    short_side: int,
    enlarge: bool,
    gop: int,
    crf: int,
    fps: float | None,
    workers: int | None,
    screen: Console | None = None,
) -> Transcoding:
    """Make training copies, and say what was done.

    Args:
        places: Videos and folders of videos.
        out: Folder of the copies.
        short_side: See `CopySettings`.
        enlarge: See `CopySettings`.
        gop: See `CopySettings`.
        crf: See `CopySettings`.
        fps: See `CopySettings`.
        workers: Number of processes. Default: one for each core.
        screen: Where to print. Default: standard output.

    Raises:
        SgearError: If a setting is wrong, there are no videos, or copies cannot be written.
        typer.Exit: With code 2 if a video failed, after all others are done.
    """
    screen = open_screen() if screen is None else screen
    try:
        settings = CopySettings(short_side=short_side, enlarge=enlarge, gop=gop, crf=crf, fps=fps)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    passed_over = PassedOver()
    planned = plan_copies(places, out, passed_over=passed_over)
    num_workers = default_workers() if workers is None else workers
    # Each is opened first, for its length and the copy that may be there.
    say(f"looking at {counted(len(planned), 'video')}", screen=screen)
    with video_progress(screen, "copying") as report:
        result = transcode(planned, out, settings, num_workers=num_workers, progress=report)
    _print_summary(screen, result, out, passed_over)
    if result.failures:
        raise typer.Exit(2)
    return result


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bytes_text(number: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def _print_summary(screen: Console, result: Transcoding, out: Path, passed_over: PassedOver) -> None:
    table = Table(show_header=False)
    table.add_row("copied now", f"{len(result.done):,} videos")
    table.add_row("there before", f"{len(result.kept):,}")
    if result.elsewhere:
        table.add_row("held by other workers", f"{len(result.elsewhere):,}")
    table.add_row("failed", f"{len(result.failures):,}")
    if str(passed_over):
        table.add_row("skipped", str(passed_over))
    if result.done:
        share = f" ({result.bytes_out / result.bytes_in:.1%})"
        table.add_row("length", f"{clock_text(result.video_s)} ({result.video_s / 3600:.3g} h)")
        table.add_row("bytes", f"{bytes_text(result.bytes_in)} -> {bytes_text(result.bytes_out)}{share}")
        table.add_row("speed", f"{result.video_s / max(result.seconds, 1e-9):.1f} s of video per second")
    table.add_row("time", f"{result.seconds:.1f} s")
    screen.print(table)
    for message in result.failures.values():
        say(Text.assemble(("failed", "red"), f" {message}"), screen=screen)
    if result.failures:
        say("The copies of all other videos are whole. Run the same command again after the repair.", screen=screen)
    elif result.elsewhere:
        say("Run the same command again later to see that the others have finished.", screen=screen)
    else:
        which = "Every video file except those skipped" if str(passed_over) else "Every video"
        say(f"{which} has its copy in {out}", screen=screen)
