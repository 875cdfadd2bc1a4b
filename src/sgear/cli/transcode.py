"""What `sgear data transcode` prints: how far it is in seconds of film, and what was done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sgear.errors import ConfigError
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
    console: Console | None = None,
) -> Transcoding:
    """Make training copies, and say what was done.

    Args:
        places: Films and folders of films.
        out: Folder of the copies.
        short_side: See `CopySettings`.
        enlarge: See `CopySettings`.
        gop: See `CopySettings`.
        crf: See `CopySettings`.
        fps: See `CopySettings`.
        workers: Number of processes. Default: one for each core.
        console: Where to print. Default: standard output.

    Raises:
        SgearError: If a setting is wrong, there are no films, or copies cannot be written.
        typer.Exit: With code 2 if a film failed, after all others are done.
    """
    console = Console(highlight=False, soft_wrap=True) if console is None else console
    try:
        settings = CopySettings(short_side=short_side, enlarge=enlarge, gop=gop, crf=crf, fps=fps)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    planned = plan_copies(places, out)
    num_workers = default_workers() if workers is None else workers
    with film_bar(console, "copying") as report:
        result = transcode(planned, out, settings, num_workers=num_workers, progress=report)
    _print_summary(console, result, out)
    if result.failures:
        raise typer.Exit(2)
    return result


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def film_bar(console: Console, text: str) -> Iterator[Callable[[int, int, float, float], None]]:
    """Show a bar that counts films, and seconds of film for the estimate of what remains."""
    columns = (
        TextColumn(text),
        BarColumn(),
        TextColumn("{task.fields[films]}"),
        TextColumn("{task.fields[clock]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # The estimate looks back over minutes, as films differ in size and rate.
    with Progress(*columns, console=console, speed_estimate_period=300.0) as bar:
        task = bar.add_task(text, total=None, films="", clock="")

        def report(num_done: int, num_films: int, done_s: float, total_s: float) -> None:
            films, clock = f"{num_done}/{num_films} films", f"{clock_text(done_s)} of {clock_text(total_s)}"
            bar.update(task, completed=done_s, total=total_s or None, films=films, clock=clock)

        yield report


def clock_text(seconds: float) -> str:
    """Return H:MM:SS."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


def bytes_text(number: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def _print_summary(console: Console, result: Transcoding, out: Path) -> None:
    table = Table(show_header=False)
    table.add_row("copied now", f"{len(result.done):,} films")
    table.add_row("there before", f"{len(result.kept):,}")
    if result.elsewhere:
        table.add_row("held by other workers", f"{len(result.elsewhere):,}")
    table.add_row("failed", f"{len(result.failures):,}")
    if result.done:
        share = f" ({result.bytes_out / result.bytes_in:.1%})"
        table.add_row("length", f"{clock_text(result.film_s)} ({result.film_s / 3600:.3g} h)")
        table.add_row("bytes", f"{bytes_text(result.bytes_in)} -> {bytes_text(result.bytes_out)}{share}")
        table.add_row("speed", f"{result.film_s / max(result.seconds, 1e-9):.1f} s of film per second")
    table.add_row("time", f"{result.seconds:.1f} s")
    console.print(table)
    for message in result.failures.values():
        console.print(f"[red]failed[/red] {escape(message)}")
    if result.failures:
        console.print("The copies of all other films are whole. Run the same command again after the repair.")
    elif result.elsewhere:
        console.print("Run the same command again later to see that the others have finished.")
    else:
        console.print(f"Every film has its copy in {escape(str(out))}")
