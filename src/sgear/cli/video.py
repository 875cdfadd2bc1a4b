"""`sgear data transcode` and `sgear data verify`: copies of videos, and what is wrong with videos and their rows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sgear.cli.terminal import clock_text, open_screen, say, video_progress
from sgear.data.verify import RowCheck, all_splits, annotated_videos, check_rows
from sgear.datasets import annotation_folder, load_dataset, numbering_rates, read_video_info, video_places
from sgear.errors import ConfigError, VideoError
from sgear.video.find import PassedOver, composed, counted, is_frame_folder, needs_rate, scan_videos
from sgear.video.training_copy import CopySettings
from sgear.video.transcode import Transcoding, plan_copies, transcode
from sgear.video.verify import VideoCheck, VideoToCheck, verify_videos


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


MOST_SHOWN = 20


@dataclass(frozen=True)
class DatasetChoice:
    """Which annotations to hold against the videos.

    Args:
        name: Name of the data set.
        root: Folder of the annotations. Default: the usual place.
        video_roots: Folders of the videos. Default: the usual places.
        split: Number of the official split.
        granularity: Level of the labels.
    """

    name: str
    root: Path | None = None
    video_roots: tuple[Path, ...] = ()
    split: int = 1
    granularity: str = "mid"


@dataclass
class _Found:
    """Videos to check, by video id where there is one for each, and those that cannot stand for their id."""

    videos: list[VideoToCheck] = field(default_factory=list)
    video_of: dict[str, Path] = field(default_factory=dict)
    doubled: dict[str, list[Path]] = field(default_factory=dict)
    passed_over: PassedOver = field(default_factory=PassedOver)


def run_verify(
    places: Sequence[Path],
    dataset: DatasetChoice | None,
    *,
    quick: bool,
    frame_fps: float | None,
    workers: int | None,
    as_json: bool,
    screen: Console | None = None,
) -> None:
    """Check videos, and the rows of a data set against them.

    Raises:
        SgearError: If a setting is wrong, or there is nothing to check.
        typer.Exit: With code 1 if a video or a row is wrong.
    """
    screen = open_screen() if screen is None else screen
    if bool(places) == (dataset is not None):
        raise ConfigError("give either folders of videos, or a data set with --dataset (its videos: --video-root)")
    num_workers = default_workers() if workers is None else workers
    rows: RowCheck | None = None
    if dataset is None:
        found = _videos_in(places, frame_fps)
        checks = _check(found.videos, quick, num_workers, as_json)
    else:
        benchmark = load_dataset(dataset.name, dataset.root, split=dataset.split, granularity=dataset.granularity)
        splits = all_splits(benchmark)
        info = read_video_info(annotation_folder(dataset.name, dataset.root))
        video_ids = annotated_videos(splits)
        found = _videos_of(dataset, video_ids)
        rates = numbering_rates(dataset.name, video_ids, info)
        asked = [video_id for video_id in video_ids if video_id in found.video_of]
        found.videos = [_with_rate(found.video_of[video_id], frame_fps or rates.get(video_id)) for video_id in asked]
        checks = _check(found.videos, quick, num_workers, as_json)
        spans = dict.fromkeys((*found.video_of, *found.doubled))
        spans |= {video_id: check.span for video_id, check in zip(asked, checks, strict=True)}
        rows = check_rows(splits, spans, info)
    is_right = not found.doubled and all(not check.problems for check in checks) and (rows is None or rows.is_right)
    if as_json:
        text = json.dumps(_to_dict(checks, found, rows, is_right=is_right, quick=quick), indent=2)
        say(text, screen=screen)
    else:
        _print_videos(screen, checks, found, quick=quick)
        if rows is not None:
            _print_rows(screen, rows)
        verdict, colour = ("nothing wrong was found", "green") if is_right else ("something is wrong", "red")
        say(verdict, style=colour, screen=screen)
    if not is_right:
        raise typer.Exit(1)


def _videos_in(places: Sequence[Path], frame_fps: float | None) -> _Found:
    found = _Found()
    for place in places:
        if not place.exists():
            raise VideoError(f"{place}: no such video or folder")
        is_tree = place.is_dir() and not is_frame_folder(place)
        scanned = scan_videos(place, passed_over=found.passed_over) if is_tree else {"": [place]}
        paths = [path for paths in scanned.values() for path in paths]
        if not paths:
            raise VideoError(f"{place}: no videos there")
        found.videos += [_with_rate(path, frame_fps) for path in paths]
    return found


def _videos_of(dataset: DatasetChoice, video_ids: Sequence[str]) -> _Found:
    """Return the video of each video from the first folder that holds it, and all other videos there."""
    for root in dataset.video_roots:
        if not root.is_dir():
            raise VideoError(f"--video-root {root}: no such folder of videos. Check the path.")
    roots = dataset.video_roots or video_places(dataset.name, "" if dataset.root is None else str(dataset.root))
    there = [root for root in dict.fromkeys(roots) if root.is_dir()]
    if not there:
        raise VideoError(f"{dataset.name}: none of {', '.join(map(str, roots))} exists; name folders by --video-root")
    found, asked = _Found(), {composed(video_id): video_id for video_id in video_ids}
    for root in there:
        for name, paths in scan_videos(root, passed_over=found.passed_over).items():
            video_id = asked.get(name, name)
            if video_id in found.video_of or video_id in found.doubled:
                continue
            if len(paths) > 1 and name in asked:
                found.doubled[video_id] = paths
            else:
                found.video_of[video_id] = paths[0]
    return found


def _with_rate(path: Path, frame_fps: float | None) -> VideoToCheck:
    return VideoToCheck(path, frame_fps if needs_rate(path) else None)


def _check(videos: Sequence[VideoToCheck], quick: bool, num_workers: int, as_json: bool) -> list[VideoCheck]:
    # Standard output is for the result alone, so that it can be read by another program.
    screen = open_screen(stderr=True)
    screen.quiet = as_json and screen.is_terminal
    # Each is opened first, for its length.
    say(f"looking at {counted(len(videos), 'video')}", screen=screen)
    with video_progress(screen, "checking") as report:
        return verify_videos(videos, quick=quick, num_workers=num_workers, progress=report)


def _print_videos(screen: Console, checks: Sequence[VideoCheck], found: _Found, *, quick: bool) -> None:
    wrong = [check for check in checks if check.problems]
    table = Table(show_header=False)
    table.add_row("videos", f"{len(checks):,}")
    table.add_row("length", clock_text(sum((check.span.end_s for check in checks if check.span is not None), 0.0)))
    table.add_row("bytes", bytes_text(sum(check.num_bytes for check in checks)))
    decoded = "first and last second decoded" if quick else "all decoded"
    table.add_row("frames", f"{sum(check.num_frames for check in checks):,} ({decoded})")
    table.add_row("videos with problems", f"{len(wrong) + len(found.doubled):,}")
    if str(found.passed_over):
        table.add_row("skipped", str(found.passed_over))
    screen.print(table)
    lines = [f"{check.path}: {problem}" for check in wrong for problem in check.problems]
    lines += [f"video {name}: two videos, {paths[0]} and {paths[1]}" for name, paths in found.doubled.items()]
    _print_list(screen, lines)
    _print_list(screen, [f"{check.path}: {note}" for check in checks for note in check.notes], kind="note")


def _print_rows(screen: Console, rows: RowCheck) -> None:
    table = Table(show_header=False)
    for split, number in rows.num_rows.items():
        table.add_row(f"rows of {split}", f"{number:,}")
    for text, of_video in (("without video", rows.missing), ("of videos that cannot be read", rows.unchecked)):
        table.add_row(f"rows {text}", f"{sum(of_video.values()):,} ({len(of_video):,} videos)")
    table.add_row("rows outside their video", f"{len(rows.outside):,}")
    table.add_row("videos of another length than stated", f"{len(rows.lengths):,}")
    table.add_row("videos without rows", f"{len(rows.without_rows):,}")
    screen.print(table)
    _print_list(screen, [f"video {name}: no video, rows: {number:,}" for name, number in rows.missing.items()])
    _print_list(screen, [f"video {name}: cannot be read, rows: {number:,}" for name, number in rows.unchecked.items()])
    _print_list(screen, [f"video {name}: {text}" for name, text in rows.lengths.items()])
    _print_list(screen, [f"{row.split} row {row.uid}, video {row.video_id}: {row.text}" for row in rows.outside])
    if rows.without_rows:
        named, more = ", ".join(rows.without_rows[:8]), len(rows.without_rows) - 8
        say(f"without rows, not checked: {named}{f' and {more:,} more' if more > 0 else ''}", screen=screen)


def _print_list(screen: Console, lines: Sequence[str], *, kind: str = "problem") -> None:
    for line in lines[:MOST_SHOWN]:
        say(Text.assemble((kind, "red" if kind == "problem" else "yellow"), f" {line}"), screen=screen)
    if len(lines) > MOST_SHOWN:
        say(f"... and {len(lines) - MOST_SHOWN:,} more; --json lists all", screen=screen)


def _to_dict(
    checks: Sequence[VideoCheck], found: _Found, rows: RowCheck | None, *, is_right: bool, quick: bool
) -> dict[str, object]:
    videos = [
        {
            "path": str(check.path),
            "problems": list(check.problems),
            "notes": list(check.notes),
            "end_s": None if check.span is None else check.span.end_s,
            "decoded_frames": check.num_frames,
            "size": check.size,
            "bytes": check.num_bytes,
        }
        for check in checks
    ]
    doubled = {name: [str(path) for path in paths] for name, paths in found.doubled.items()}
    of_rows = None if rows is None else asdict(rows)
    told = {"is_right": is_right, "quick": quick, "videos": videos, "doubled": doubled, "rows": of_rows}
    return {**told, "passed_over": dict(found.passed_over.endings)}
