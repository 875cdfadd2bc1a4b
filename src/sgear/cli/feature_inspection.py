"""What `sgear features inspect` prints: what is in a store or an LMDB, what is missing, and what can be read of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from sgear.cli.terminal import open_screen, progress_bar, say
from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import Benchmark
from sgear.errors import ConfigError
from sgear.experiment.build import load_benchmark
from sgear.experiment.facts import faults_of, faults_text, known_lengths, lengths_of_dataset, videos_at_hand
from sgear.experiment.schema import DatasetConfig
from sgear.features import FeatureStore, LmdbLayout, open_features
from sgear.features.inspection import Coverage, Summary, TableOnDisk, VideoSummary, coverage, find_damage, summarise
from sgear.features.store_index import DESCRIPTION_NAME, StoreDescription, write_index
from sgear.timing import AnticipationProtocol

_NUM_SHOWN = 10
_NUM_HOLES_SHOWN = 3


def inspect_features(
    path: Path,
    dataset: DatasetConfig | None,
    *,
    tau_a_s: float | None,
    tau_o_s: float,
    steps_per_s: float,
    key: str,
    fps: float,
    max_gap_s: float,
    lmdb_dtype: str,
    lists_videos: bool,
    verifies: bool,
    reindexes: bool,
) -> bool:
    """Print what is there, and whether a data set can be read from it.

    Returns:
        Whether nothing is damaged, all segments can be read, and the rows last as long as the videos.
    """
    if reindexes:
        write_index(path, StoreDescription.load(path))
    try:
        layout = LmdbLayout(key=key, fps=fps, max_gap_s=max_gap_s, dtype=lmdb_dtype)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    table = open_features(path, layout)
    if isinstance(table, FeatureStore) and layout != LmdbLayout():
        raise ConfigError(
            f"--key, --fps, --max-gap and --lmdb-dtype have no effect: {path} is a store, which says in "
            f"{DESCRIPTION_NAME} how it is read (max_gap_s)"
        )
    found_damage = None
    if verifies:
        # Before anything else is read of it: damage of an LMDB may end the process that reads it.
        with progress_bar("videos verified") as report:
            found_damage = find_damage(table, progress=report)
    summary = summarise(table)
    damaged = summary.damaged if found_damage is None else found_damage
    _print_summary(summary, lists_videos=lists_videos)
    _print_damage(damaged, summary, is_verified=verifies)
    if dataset is None:
        return not damaged
    benchmark = load_benchmark(dataset)
    tau_a_s = benchmark.usual_tau_a_s if tau_a_s is None else tau_a_s
    try:
        protocol = AnticipationProtocol(tau_a_s=tau_a_s, tau_o_s=tau_o_s, fps=steps_per_s)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    splits = {"train": benchmark.train, "validation": benchmark.validation, **benchmark.tests}
    found = {name: coverage(table, segments, protocol) for name, segments in splits.items()}
    _print_coverage(benchmark.name, found, protocol)
    is_right = _print_clock(table, dataset, benchmark)
    return not damaged and is_right and all(each.is_complete for each in found.values())


def _print_clock(table: TableOnDisk, dataset: DatasetConfig, benchmark: Benchmark) -> bool:
    """Say whether the rows last as long as the videos; return False where they do not."""
    video_ids, stated_s = annotated_videos(all_splits(benchmark)), lengths_of_dataset(dataset)
    videos = videos_at_hand(dataset, [video_id for video_id in video_ids if video_id not in stated_s])
    faults, unknown = faults_of(table, benchmark, video_ids, known_lengths(stated_s, [table], videos, video_ids))
    if faults:
        say(f"clock: {faults_text(faults)}")
    elif unknown:
        say(f"clock: unverified, how long {len(unknown)} of {len(video_ids)} videos last is not known")
    else:
        say("clock: the rows last as long as the videos")
    return not faults


def _print_summary(summary: Summary, *, lists_videos: bool) -> None:
    rates = sorted(video.rate for video in summary.videos if video.rate)
    with_holes = [video for video in summary.videos if video.holes]
    facts = {
        "kind": summary.kind,
        "videos": str(len(summary.videos) + len(summary.damaged)),
        "rows": str(summary.rows),
        "width": f"{summary.width} ({summary.dtype})",
        "rows per second": f"{rates[0]:.3g} to {rates[-1]:.3g}" if rates else "one row per video",
        "videos with holes": str(len(with_holes)),
        "first": summary.first_key,
        "last": summary.last_key,
        **summary.origin,
    }
    table = Table(title=str(summary.path), show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    open_screen().print(table)
    shown = with_holes if lists_videos else with_holes[:_NUM_SHOWN]
    for video in shown:
        say(_holes_text(video))
    if len(shown) < len(with_holes):
        say(f"... and {len(with_holes) - len(shown)} more videos with holes; --videos lists all")
    if lists_videos:
        listing = Table("video", "rows", "first (s)", "last (s)", "rows per second", "holes")
        for video in summary.videos:
            numbers = (f"{video.first_s:.3f}", f"{video.last_s:.3f}", f"{video.rate:.3g}", str(len(video.holes)))
            listing.add_row(video.video_id, str(video.rows), *numbers)
        open_screen().print(listing)


def _holes_text(video: VideoSummary) -> str:
    parts = [f"{begin_s:.3f} to {end_s:.3f} s" for begin_s, end_s in video.holes[:_NUM_HOLES_SHOWN]]
    more = len(video.holes) - len(parts)
    missing_s = sum(end_s - begin_s for begin_s, end_s in video.holes)
    return (
        f"video {video.video_id}: no rows from {', '.join(parts)}{f' and {more} more times' if more else ''} "
        f"({missing_s:.1f} s in all)"
    )


def _print_damage(damaged: Mapping[str, str], summary: Summary, *, is_verified: bool) -> None:
    for message in list(damaged.values())[:_NUM_SHOWN]:
        say(f"damaged: {message}")
    if len(damaged) > _NUM_SHOWN:
        say(f"... and {len(damaged) - _NUM_SHOWN} more: {', '.join(list(damaged)[_NUM_SHOWN:])}")
    if damaged:
        say(f"{len(damaged)} videos are damaged")
    elif is_verified:
        say(f"all {summary.rows} rows are whole and finite")


def _print_coverage(name: str, found: dict[str, Coverage], protocol: AnticipationProtocol) -> None:
    columns = ("split", "segments", "videos missing", "segments of these", "nothing to see", "not readable")
    window = f"{protocol.num_steps} steps, {protocol.fps:g} a second"
    table = Table(*columns, title=f"{name}, tau_a {protocol.tau_a_s:g} s, {window}")
    for split, each in found.items():
        counts = (each.num_segments, len(each.missing_videos), each.num_of_missing_videos, each.num_blind)
        table.add_row(split, *map(str, counts), str(len(each.unreadable)))
    open_screen().print(table)
    for split, each in found.items():
        for text, names in (("videos missing", each.missing_videos), ("segments not readable", each.unreadable)):
            if names:
                more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
                say(f"{split}: {text}: {', '.join(names[:_NUM_SHOWN])}{more}")
