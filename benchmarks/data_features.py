"""Windows of 15 steps at 1 fps from stored features, and extraction: the ratios that `benchmarks/data.py` reports.

Everything is read from a warm cache. Other ways to lay out the same rows stand beside the one that is used.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import torch
from data_ratios import Ratio, Sizes, compare, in_turns, one_thread
from data_videos import make_video
from numpy.typing import NDArray

from sgear.data import FeatureSource
from sgear.features import FeatureStore, FeatureStoreWriter, LmdbFeatures, StoredFeatures
from sgear.features.extract import FrameEncoder, extract
from sgear.features.imports import import_lmdb
from sgear.features.lmdb_export import write_lmdb
from sgear.models.encoders.extraction import timm_frame_encoder
from sgear.video.pool import ReadingSize, open_video
from sgear.video.transforms import ClipTransform

WIDTH, FPS, STEPS = 1024, 30, 15
BATCH_SIZE = 16
NUM_EVEN_VIDEOS = 10
Window = tuple[str, NDArray[np.float64]]


def make_features(folder: Path, sizes: Sizes) -> tuple[Path, FeatureStore, FeatureStore]:
    """Write the same random features as LMDB and as stores of both precisions."""
    rng = np.random.default_rng(0)
    path, stores = folder / "rgb-lmdb", []
    if not path.is_dir():
        times_s = np.arange(sizes.num_rows) / FPS
        videos = (
            (f"P01_{number:02d}", times_s, rng.standard_normal((sizes.num_rows, WIDTH), dtype=np.float32))
            for number in range(1, sizes.num_videos + 1)
        )
        write_lmdb(path, videos, num_rows=sizes.num_videos * sizes.num_rows, width=WIDTH)
    for dtype in ("float32", "float16"):
        if not (folder / dtype / "store.json").is_file():
            import_lmdb(LmdbFeatures(path), folder / dtype, name="random", dtype=dtype)
        stores.append(FeatureStore(folder / dtype))
    return path, stores[0], stores[1]


def draw_windows(sizes: Sizes) -> list[Window]:
    """Return windows anywhere in the videos, as a training epoch asks for them."""
    rng = np.random.default_rng(1)
    steps_s = np.arange(STEPS - 1, -1, -1.0)
    ends_s = rng.uniform(STEPS + 1, sizes.num_rows / FPS - 1, sizes.num_lookups)
    return [(f"P01_{rng.integers(sizes.num_videos) + 1:02d}", end_s - steps_s) for end_s in ends_s]


def frame_by_frame(environment: lmdb.Environment, windows: list[Window]) -> None:
    """Read every frame of the 15 s, then keep 15 of them.

    Source:
        facebookresearch/AVT@5ac3801 datasets/epic_kitchens.py, EpicRULSTMFeatsReader with read_type `normal`: a
        transaction and up to ten tries for each frame, then one stack of all.
    """
    for video_id, timestamps_s in windows:
        last = np.floor(timestamps_s[-1] * FPS)
        rows = []
        for number in np.arange(last, last - STEPS * FPS, -1).astype(int)[::-1]:
            with environment.begin() as transaction:
                value = None
                for back in range(10):
                    key = f"{video_id}_frame_{number - back:010d}.jpg"
                    value = transaction.get(key.strip().encode("utf-8"))
                    if value is not None:
                        break
            rows.append(None if value is None else np.frombuffer(value, "float32"))
        known = [row for row in rows if row is not None]
        filled = np.array([np.zeros_like(known[0]) if row is None else row for row in rows])
        torch.as_tensor(filled[:, np.newaxis, np.newaxis, :])[FPS - 1 :: FPS]


def read_windows(table: StoredFeatures, windows: list[Window]) -> Callable[[], None]:
    """Return a function that reads all windows as the loader does."""
    source = FeatureSource(table)

    def read() -> None:
        for video_id, timestamps_s in windows:
            source.read(video_id, timestamps_s, None)

    return read


def unaligned_copy(store: FeatureStore, folder: Path) -> FeatureStore:
    """Return the same store with rows that begin 16 bytes behind a page; an ordinary safetensors writer aligns to 8."""
    if not folder.is_dir():
        shutil.copytree(store.root, folder)
        for path in (folder / "videos").iterdir():
            content = path.read_bytes()
            length = int.from_bytes(content[:8], "little") + 16
            path.write_bytes(length.to_bytes(8, "little") + content[8 : length - 8] + b" " * 16 + content[length - 8 :])
    return FeatureStore(folder)


def window_ratios(folder: Path, *, rounds: int, sizes: Sizes) -> list[Ratio]:
    """Compare the ways to read a window. LMDB and store both refuse rows that are not finite."""
    path, store, half = make_features(folder, sizes)
    # A process may open an LMDB once, so the other way reads a copy.
    copy = folder / "copy.lmdb"
    if not copy.is_file():
        shutil.copy(path / "data.mdb", copy)
    windows = draw_windows(sizes)
    few = windows[: -(-sizes.num_lookups // 20)]
    tables = {
        "lmdb": LmdbFeatures(path),
        "store": store,
        "half": half,
        "unaligned": unaligned_copy(store, folder / "unaligned"),
    }
    with lmdb.open(str(copy), subdir=False, readonly=True, lock=False) as environment:
        ways: dict[str, tuple[Callable[[], object], int]] = {
            name: (read_windows(table, windows), len(windows)) for name, table in tables.items()
        }
        ways["frames"] = (lambda: frame_by_frame(environment, few), len(few))
        taken = in_turns(ways, rounds=rounds)
    return [
        compare("window from LMDB: 15 reads against 450", taken["lmdb"], taken["frames"], target=40),
        compare("window from the store against 15 reads from LMDB", taken["store"], taken["lmdb"], target=3),
        compare("the same, store in float16", taken["half"], taken["lmdb"]),
        compare("the same, rows not at a page of memory", taken["unaligned"], taken["lmdb"]),
    ]


def decode_alone(videos: dict[str, Path], encoder: FrameEncoder, fps: float) -> None:
    """Decode and crop what an extraction reads."""
    size = (encoder.image_height, encoder.image_width)
    transform = ClipTransform(
        *size, encoder.mean, encoder.std, crop_margin=encoder.crop_margin, flip=False, brightness=0.0, contrast=0.0
    )
    for path in videos.values():
        with open_video(path, size=ReadingSize(*size, encoder.crop_margin)((256, 456))) as video:
            instants_s = np.arange(int(video.last_pts_s * fps) + 1) / fps
            for begin in range(0, len(instants_s), BATCH_SIZE):
                transform.evaluate(video.frames_played_at(instants_s[begin : begin + BATCH_SIZE]).frames)


def run_extraction(folder: Path, videos: dict[str, Path], encoder: FrameEncoder, fps: float) -> None:
    """Extract to a new store."""
    shutil.rmtree(folder / "extracted", ignore_errors=True)
    provenance = encoder.provenance(fps=fps, views="centre")
    writer = FeatureStoreWriter(folder / "extracted", provenance, width=encoder.width)
    extract(encoder, videos, writer, fps=fps, batch_size=BATCH_SIZE)


def channel_means(frames: torch.Tensor) -> torch.Tensor:
    """An encoder that costs next to nothing."""
    return frames.mean(dim=(2, 3))


def extraction_ratios(folder: Path, *, rounds: int, sizes: Sizes, fps: float = 2.0) -> list[Ratio]:
    """Compare extraction with encoding alone and with decoding alone, where one is slower and where both take as long.

    One thread each. Beside other work on the machine the ratios against encoding say more about that work than about
    the extraction; the share of its time that lies within the encoder does not depend on it.
    """
    video = make_video(folder / "original-30.mp4", seconds=sizes.seconds)
    videos = {f"v{number}": video for number in range(2)}
    # Where both take as long, the first batch and the last one have nothing beside them: among few they would be all.
    many = {f"v{number}": video for number in range(NUM_EVEN_VIDEOS)}
    slow = timm_frame_encoder("resnet18", pretrained=False)
    cheap = replace(slow, encode=channel_means, name="means", width=3)
    inside_s: list[float] = []

    def timed(clip: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        features = slow.encode(clip)
        inside_s[-1] += time.perf_counter() - began
        return features

    def extract_slowly() -> None:
        inside_s.append(0.0)
        run_extraction(folder, videos, replace(slow, encode=timed), fps)

    even_fps = balanced_rate(videos, slow, sizes)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "encode": (lambda: encode_alone(videos, slow, sizes, fps), 1),
        "encode and decode": (extract_slowly, 1),
        "decode": (lambda: decode_alone(videos, cheap, fps), 1),
        "decode and average": (lambda: run_extraction(folder, videos, cheap, fps), 1),
        "even: encode": (lambda: encode_alone(many, slow, sizes, even_fps), 1),
        "even: decode": (lambda: decode_alone(many, slow, even_fps), 1),
        "even: both": (lambda: run_extraction(folder, many, slow, even_fps), 1),
    }
    taken = in_turns(ways, rounds=rounds)
    both, even = taken["encode and decode"], taken["even: both"]
    slower = [max(pair) for pair in zip(taken["even: encode"], taken["even: decode"], strict=True)]
    together = [sum(pair) for pair in zip(taken["even: encode"], taken["even: decode"], strict=True)]
    evenly = f"{NUM_EVEN_VIDEOS} videos at {even_fps:.2g} rows a second, so that both take as long"
    return [
        compare("encoding alone against extraction", both, taken["encode"], target=0.9),
        compare("share of that extraction within the encoder", both, inside_s[1:], target=0.9),
        compare("decoding alone against extraction", taken["decode and average"], taken["decode"], target=0.9),
        compare(f"the slower of both alone against extraction, {evenly}", even, slower, target=0.9),
        compare("one after the other against that extraction", even, together),
    ]


def encode_alone(videos: dict[str, Path], encoder: FrameEncoder, sizes: Sizes, fps: float) -> None:
    """Encode as many frames as an extraction does, in as many batches."""
    num_left = len(videos) * int(sizes.seconds * fps)
    frames = torch.randn(BATCH_SIZE, 3, encoder.image_height, encoder.image_width)
    with torch.inference_mode():
        while num_left > 0:
            encoder.encode(frames[:num_left])
            num_left -= BATCH_SIZE


def balanced_rate(videos: dict[str, Path], encoder: FrameEncoder, sizes: Sizes) -> float:
    """Return at how many rows per second decoding and encoding take equally long on this machine.

    Each is timed at two rates: decoding costs something for every frame of the video, and something for every row.
    """
    rates = (1.0, 4.0)
    ways: dict[str, tuple[Callable[[], object], int]] = {}
    for rate in rates:
        ways[f"decode {rate}"] = (lambda rate=rate: decode_alone(videos, encoder, rate), 1)
        ways[f"encode {rate}"] = (lambda rate=rate: encode_alone(videos, encoder, sizes, rate), 1)
    taken_s = {name: min(times) for name, times in in_turns(ways, rounds=2).items()}
    (decode_1, decode_4), (encode_1, encode_4) = (
        [taken_s[f"{kind} {rate}"] for rate in rates] for kind in ("decode", "encode")
    )
    per_rate = ((encode_4 - encode_1) - (decode_4 - decode_1)) / (rates[1] - rates[0])
    even = rates[0] + (decode_1 - encode_1) / per_rate if per_rate > 0 else rates[1]
    return float(np.clip(even, 0.1, 30.0))


def feature_ratios(folder: Path, *, rounds: int, sizes: Sizes) -> list[Ratio]:
    """Return all ratios of stored features."""
    with one_thread():
        windows = window_ratios(folder, rounds=rounds, sizes=sizes)
        return [*windows, *extraction_ratios(folder, rounds=max(1, rounds // 2), sizes=sizes)]
