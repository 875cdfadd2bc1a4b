"""What the commands of `sgear features` do and print, and which videos features are extracted from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sgear.cli.terminal import progress_bar, say
from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import require_stated_length
from sgear.errors import ConfigError, FeatureError
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.settings import as_override
from sgear.experiment.sources import image_rates, video_roots, without_video
from sgear.features import FeatureStore, FeatureStoreWriter, LmdbFeatures, LmdbLayout, open_features
from sgear.features.extract import EXTRACTED_VIEWS, FrameEncoder, extract
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays, import_lmdb
from sgear.features.lmdb_export import export_store
from sgear.features.opening import is_stored
from sgear.features.store_index import DESCRIPTION_NAME, StoreDescription
from sgear.models.encoders.extraction import run_frame_encoder, timm_frame_encoder
from sgear.predictions.provenance import skipped_of, skipped_text
from sgear.training.run import RunDirectory, read_json
from sgear.video.base import Video
from sgear.video.find import find_videos, list_videos, needs_rate


@dataclass(frozen=True, kw_only=True)
class CorpusVideos:
    """Videos of a corpus.

    Args:
        paths: Video of each video id.
        rates: Rate at which the images of a video were numbered, for all that are made of them, or for each.
        check: See `sgear.features.extract.extract`.
        missing: Why a video has no video.
    """

    paths: dict[str, Path]
    rates: float | Mapping[str, float] | None = None
    check: Callable[[str, Video], None] | None = None
    missing: dict[str, str] = field(default_factory=dict)


def videos_in(places: Sequence[Path], frame_fps: float | None) -> CorpusVideos:
    """Return the videos in folders, and videos named themselves.

    Raises:
        VideoError: If there are none, or two of one id.
    """
    return CorpusVideos(paths=list_videos(places), rates=frame_fps)


def videos_of_dataset(dataset: DatasetConfig, frame_fps: float | None) -> CorpusVideos:
    """Return the videos of all annotated videos, from where the data set keeps them.

    Rates of numbered images come from the data set unless they are given, and then the length of each video is held
    against what the data set says: a wrong rate shows the future.

    Args:
        dataset: The data set, and where its videos are looked for.
        frame_fps: Rate of all numbered images. Default: that of the data set.

    Raises:
        VideoError: If there is no video at all, two have one id, or a rate is not known.
    """
    video_ids = annotated_videos(all_splits(load_benchmark(dataset)))
    roots = video_roots(dataset)
    videos = find_videos(video_ids, roots, remedy="name other folders with --video-root", allows_missing=True)
    missing = without_video(video_ids, videos, roots)
    if frame_fps is not None:
        return CorpusVideos(paths=videos, rates=frame_fps, missing=missing)
    images = {video_id: path for video_id, path in videos.items() if needs_rate(path)}
    rates, durations_s = image_rates(dataset, images, remedy="give it with --frame-fps")
    return CorpusVideos(paths=videos, rates=rates, check=_length_check(rates, durations_s), missing=missing)


def _length_check(rates: Mapping[str, float], durations_s: Mapping[str, float]) -> Callable[[str, Video], None]:
    def check(video_id: str, video: Video) -> None:
        if video_id in durations_s:
            rate, remedy = rates[video_id], "give the rate with --frame-fps"
            found_s = video.last_pts_s + 1 / rate
            require_stated_length(str(video.path), found_s, durations_s[video_id], rate=rate, remedy=remedy)

    return check


def parse_shard(text: str) -> tuple[int, int]:
    """Return (index, count) of `I/N`.

    Raises:
        ConfigError: If the text has another form or I is not below N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shard {text!r} must be I/N with I from 0 to N-1, e.g. 0/4")
    return int(match[1]), int(match[2])


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
    dataset: DatasetConfig | None = None,
) -> None:
    """Extract, and say what was done."""
    part = parse_shard(shard)
    if views not in EXTRACTED_VIEWS:
        raise ConfigError(f"--views {views!r} is unknown; choose {', '.join(EXTRACTED_VIEWS)}")
    if bool(places) == (dataset is not None):
        raise ConfigError("give either videos or folders of videos, or a data set with --dataset")
    videos: CorpusVideos = videos_in(places, frame_fps) if dataset is None else videos_of_dataset(dataset, frame_fps)
    network = _network(encoder, device=device, precision=precision, weights=weights, pretrained=pretrained)
    try:
        writer = FeatureStoreWriter(out, network.provenance(fps=fps, views=views), width=network.width, dtype=dtype)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    with progress_bar("videos encoded", as_share=True) as report:
        result = extract(
            network,
            videos.paths,
            writer,
            fps=fps,
            batch_size=batch_size,
            views=views,
            frame_fps=videos.rates,
            check=videos.check,
            shard=part,
            progress=report,
        )
    result.failures |= videos.missing
    others = f", {len(result.elsewhere)} held by other workers" if result.elsewhere else ""
    say(
        f"{len(result.done)} videos extracted, {len(result.kept)} were done before{others}, "
        f"{len(result.failures)} failed"
    )
    if result.done or result.kept:
        _print_store(writer.finish())
    result.raise_failures()


def _network(encoder: str, *, device: str, precision: str, weights: Path | None, pretrained: bool) -> FrameEncoder:
    """Return the frame encoder of a run directory, or a model of timm."""
    if not Path(encoder).is_dir():
        return timm_frame_encoder(encoder, pretrained=pretrained, weights=weights, device=device, precision=precision)
    if weights is not None or not pretrained:
        raise ConfigError(f"--weights and --no-pretrained have no effect: {encoder} is a run with its own weights")
    run = RunDirectory(Path(encoder)).require()
    network = run_frame_encoder(run.path, device=device, precision=precision)
    # Weights that were converted from a published checkpoint come without a history.
    history = read_json(run.provenance) if run.provenance.is_file() else {}
    skipped = skipped_of(history)
    if problem := skipped_text(skipped):
        return replace(network, name=f"{network.name} ({problem})", skipped=skipped)
    return network


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
    max_gap_s: float | None,
    lmdb_dtype: str,
    dtype: str,
) -> None:
    """Import arrays or an LMDB, and say what was done."""
    try:
        if is_stored(source):
            if first_s or array or orientation != "auto":
                raise ConfigError("--first-s, --array and --orientation have no effect: SOURCE is an LMDB")
            usual = LmdbLayout()
            layout = LmdbLayout(
                key=key,
                fps=usual.fps if fps is None else fps,
                max_gap_s=usual.max_gap_s if max_gap_s is None else max_gap_s,
                dtype=lmdb_dtype,
            )
            table = open_features(source, layout)
            if not isinstance(table, LmdbFeatures):
                raise ConfigError(f"{source} is a feature store already")
            if max_gap_s is not None:
                _require_gap(out, layout.reach_s)
            with progress_bar("videos imported") as report:
                store = import_lmdb(table, out, name=name, dtype=dtype, progress=report)
        else:
            if key != LmdbLayout().key or max_gap_s is not None or lmdb_dtype != LmdbLayout().dtype:
                raise ConfigError("--key, --max-gap and --lmdb-dtype have no effect: SOURCE is no LMDB")
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


def _require_gap(out: Path, reach_s: float) -> None:
    """Refuse to read on with another gap than the one that a store was begun with; its rows stay as they are."""
    if not (out / DESCRIPTION_NAME).is_file():
        return
    kept_s = StoreDescription.load(out).max_gap_s
    if kept_s != reach_s:
        raise ConfigError(
            f"--max-gap has no effect: {out} was begun before and keeps its rows for "
            f"{'three periods' if kept_s is None else f'{kept_s:g} s'}, not {reach_s:g} s; change max_gap_s in "
            f"{out / DESCRIPTION_NAME}, or import to another folder"
        )


def export_to_lmdb(path: Path, out: Path, *, key: str, fps: float) -> None:
    """Export a store, and say how it is read."""
    try:
        layout = LmdbLayout(key=key, fps=fps)
    except ValueError as err:
        raise ConfigError(str(err)) from err
    with progress_bar("videos exported") as report:
        furthest_s = export_store(FeatureStore(path), out, layout=layout, progress=report)
    say(f"wrote {out}; keys {key}, frames counted at {fps:g} a second")
    if furthest_s > layout.reach_s:
        say(
            f"warning: rows lie up to {furthest_s:.3f} s apart, and readers of this format look back "
            f"{layout.max_gap_s:g} s. Between such rows they find nothing: read it with source.lmdb_max_gap_s="
            f"{math.ceil(100 * furthest_s) / 100:g} (inspect and import: --max-gap), or extract at a higher rate"
        )


def _print_store(store: FeatureStore) -> None:
    rows = int(store.index["rows"].sum())
    say(
        f"{store.root}: {len(store.video_ids)} videos, {rows} rows of width {store.width}; train on it with "
        f"source.kind=features {as_override('source.features', store.root)} model.encoder.feature_dim={store.width}"
    )
