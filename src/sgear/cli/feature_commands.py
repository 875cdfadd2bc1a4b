"""What the verbs of `sgear features` do and print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sgear.cli.progress import progress_bar
from sgear.config.build import load_benchmark
from sgear.config.schema import DatasetConfig
from sgear.errors import ConfigError, FeatureError
from sgear.features import FeatureStore, FeatureStoreWriter, LmdbFeatures, LmdbLayout, open_features
from sgear.features.extract import extract
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays, import_lmdb
from sgear.features.inspection import Coverage, Summary, coverage, summarise
from sgear.features.lmdb_export import export_store
from sgear.features.opening import is_stored
from sgear.features.store_index import StoreDescription, write_index
from sgear.models.frame_features import run_frame_encoder, timm_frame_encoder
from sgear.predictions.skipped import skipped_of, skipped_text
from sgear.training.run import RunDirectory, read_json
from sgear.video.corpus import list_films
from sgear.video.transforms import VIEWS

_NUM_SHOWN = 10


def parse_shard(text: str) -> tuple[int, int]:
    """Return (index, count) of `I/N`.

    Raises:
        ConfigError: If the text has another form or I is not below N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shard {text!r} must be I/N with I from 0 to N-1, e.g. 0/4")
    return int(match[1]), int(match[2])


@contextmanager
def _share_bar(text: str) -> Iterator[Progress]:
    columns = (TextColumn(text), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        yield bar


def extract_features(
    places: Sequence[Path],
    encoder: str,
    out: Path,
    *,
    fps: float,
    views: str,
    batch_size: int,
    dtype: str,
    shard: str,
    device: str,
    precision: str,
    weights: Path | None,
    pretrained: bool,
    frame_fps: float | None = None,
) -> None:
    """Extract, and say what was done."""
    part = parse_shard(shard)
    if views not in VIEWS:
        raise ConfigError(f"--views {views!r} is unknown; choose {', '.join(VIEWS)}")
    films = list_films(places)
    if Path(encoder).is_dir():
        if weights is not None or not pretrained:
            raise ConfigError(f"--weights and --no-pretrained have no effect: {encoder} is a run with its own weights")
        run = RunDirectory(Path(encoder)).require()
        network = run_frame_encoder(run.path, device=device, precision=precision)
        # Weights that were converted from a published checkpoint come without a history.
        history = read_json(run.provenance) if run.provenance.is_file() else {}
        skipped = skipped_of(history)
        if problem := skipped_text(skipped):
            network = replace(network, name=f"{network.name} ({problem})", skipped=skipped)
    else:
        network = timm_frame_encoder(
            encoder, pretrained=pretrained, weights=weights, device=device, precision=precision
        )
    try:
        writer = FeatureStoreWriter(out, network.provenance(fps=fps, views=views), width=network.width, dtype=dtype)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    with _share_bar("films encoded") as bar:
        task = bar.add_task("films", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        result = extract(
            network,
            films,
            writer,
            fps=fps,
            batch_size=batch_size,
            views=views,
            frame_fps=frame_fps,
            shard=part,
            progress=report,
        )
    others = f", {len(result.elsewhere)} held by other workers" if result.elsewhere else ""
    Console().print(
        f"{len(result.done)} films extracted, {len(result.kept)} were done before{others}, "
        f"{len(result.failures)} failed",
        highlight=False,
    )
    if result.done or result.kept:
        _print_store(writer.finish())
    result.raise_failures()


def import_to_store(
    source: Path,
    out: Path,
    *,
    name: str,
    fps: float | None,
    first_s: float,
    array: str,
    orientation: str,
    key: str,
    dtype: str,
) -> None:
    """Import arrays or an LMDB, and say what was done."""
    try:
        if is_stored(source):
            if first_s or array or orientation != "auto":
                raise ConfigError("--first-s, --array and --orientation have no effect: SOURCE is an LMDB")
            table = open_features(source, LmdbLayout(key=key, fps=fps or LmdbLayout().fps))
            if not isinstance(table, LmdbFeatures):
                raise ConfigError(f"{source} is a feature store already")
            with progress_bar("videos imported") as report:
                store = import_lmdb(table, out, name=name, dtype=dtype, progress=report)
        else:
            if key != LmdbLayout().key:
                raise ConfigError("--key has no effect: SOURCE is no LMDB")
            if fps is None:
                raise ConfigError("--fps is needed: arrays do not tell how many rows there are in a second")
            form = ArrayFormat(fps=fps, first_s=first_s, key=array, orientation=orientation)
            if not source.is_dir():
                raise FeatureError(f"{source}: no such folder of array files, and no LMDB")
            with progress_bar("videos imported") as report:
                store = import_arrays(find_arrays(source), out, form, name=name, dtype=dtype, progress=report)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    _print_store(store)


def inspect_features(
    path: Path,
    dataset: DatasetConfig | None,
    *,
    tau_a_s: float | None,
    key: str,
    fps: float,
    max_gap_s: float,
    lists_videos: bool,
    verifies: bool,
    reindexes: bool,
) -> bool:
    """Print what is there, and whether a data set can be read from it."""
    if reindexes:
        write_index(path, StoreDescription.load(path))
    try:
        table = open_features(path, LmdbLayout(key=key, fps=fps, max_gap_s=max_gap_s))
    except ValueError as err:
        raise ConfigError(str(err)) from err
    summary = summarise(table)
    _print_summary(summary, lists_videos=lists_videos)
    if verifies:
        _verify(table)
        Console().print(f"all {summary.rows} rows are whole and finite", highlight=False)
    if dataset is None:
        return True
    benchmark = load_benchmark(dataset)
    tau_a_s = benchmark.usual_tau_a_s if tau_a_s is None else tau_a_s
    splits = {"train": benchmark.train, "validation": benchmark.validation, **benchmark.tests}
    found = {name: coverage(table, segments, tau_a_s=tau_a_s) for name, segments in splits.items()}
    _print_coverage(benchmark.name, found, tau_a_s)
    return all(each.is_complete for each in found.values())


def export_to_lmdb(path: Path, out: Path, *, key: str, fps: float) -> None:
    """Export a store, and say how it is read."""
    try:
        layout = LmdbLayout(key=key, fps=fps)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    with progress_bar("videos exported") as report:
        export_store(FeatureStore(path), out, layout=layout, progress=report)
    Console().print(f"wrote {out}; keys {key}, frames counted at {fps:g} a second", highlight=False)


def _verify(table: FeatureStore | LmdbFeatures) -> None:
    video_ids = table.video_ids
    with progress_bar("videos verified") as report:
        for num_done, video_id in enumerate(video_ids, start=1):
            if isinstance(table, FeatureStore):
                table.verify(video_id)
            else:
                video = table[video_id]
                numbers = video.numbers()
                for begin in range(0, len(numbers), 1024):
                    video.rows(numbers[begin : begin + 1024])
            report(num_done, len(video_ids))


def _print_store(store: FeatureStore) -> None:
    rows = int(store.index["rows"].sum())
    Console().print(
        f"{store.root}: {len(store.video_ids)} videos, {rows} rows of width {store.width}; train on it with "
        f"source.kind=features source.features={store.root} model.encoder.feature_dim={store.width}",
        highlight=False,
    )


def _print_summary(summary: Summary, *, lists_videos: bool) -> None:
    console = Console()
    rates = sorted(video.rate for video in summary.videos if video.rate)
    facts = {
        "kind": summary.kind,
        "videos": str(len(summary.videos)),
        "rows": str(summary.rows),
        "width": f"{summary.width} ({summary.dtype})",
        "rows per second": f"{rates[0]:.3g} to {rates[-1]:.3g}" if rates else "one row per video",
        "first": summary.first_key,
        "last": summary.last_key,
        **summary.origin,
    }
    table = Table(title=str(summary.path), show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table, highlight=False)
    if lists_videos:
        listing = Table("video", "rows", "first (s)", "last (s)", "rows per second")
        for video in summary.videos:
            numbers = (f"{video.first_s:.3f}", f"{video.last_s:.3f}", f"{video.rate:.3g}")
            listing.add_row(video.video_id, str(video.rows), *numbers)
        console.print(listing, highlight=False)


def _print_coverage(name: str, found: dict[str, Coverage], tau_a_s: float) -> None:
    console = Console()
    columns = ("split", "segments", "videos missing", "segments of these", "nothing to see", "not readable")
    table = Table(*columns, title=f"{name}, tau_a {tau_a_s:g} s")
    for split, each in found.items():
        counts = (each.num_segments, len(each.missing_videos), each.num_of_missing_videos, each.num_blind)
        table.add_row(split, *map(str, counts), str(len(each.unreadable)))
    console.print(table, highlight=False)
    for split, each in found.items():
        for text, names in (("videos missing", each.missing_videos), ("segments not readable", each.unreadable)):
            if names:
                more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
                console.print(f"{split}: {text}: {', '.join(names[:_NUM_SHOWN])}{more}", highlight=False)
