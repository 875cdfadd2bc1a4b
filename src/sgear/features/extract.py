"""Any frame encoder over any corpus of videos -> a feature store.

Row i is what the encoder makes of the frame on screen at i / fps. A background thread decodes and crops while the
encoder works on the batch before. A video that fails is named at the end, after all others are done.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import FeatureError, SgearError, VideoError
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter, shard_of
from sgear.files import require_unchanged, state_of
from sgear.lineage import Lineage
from sgear.locks import FileLock
from sgear.timing import TIME_TOLERANCE_S, frames_of_steps, observable
from sgear.video.base import Video, opening_s
from sgear.video.find import needs_rate
from sgear.video.pool import ReadingSize, open_video
from sgear.video.training_copy import video_content
from sgear.video.transforms import VIEWS, ClipTransform, View, finish_clip, plain_colour

_PLACES = {"left": 0.0, "centre": 0.5, "right": 1.0}
SINGLE_VIEWS: dict[str, tuple[View, ...]] = {
    **{name: (View(place),) for name, place in _PLACES.items()},
    **{f"{name}-flip": (View(place, is_mirrored=True),) for name, place in _PLACES.items()},
}
"""Each part of a frame by itself; of a video that is taller than wide, left is the top."""
EXTRACTED_VIEWS = {**SINGLE_VIEWS, **VIEWS}
"""What `extract` makes of a frame: one vector of a single view, or the average over several."""


@dataclass(frozen=True, kw_only=True)
class FrameEncoder:
    """A network that turns single frames into vectors, and all that its numbers depend on.

    Args:
        encode: Normalised frames [T 3 H W], or clips [T F 3 H W], on `device` -> features, one row per step.
        name: Name of the network.
        weights: Digest of its weights.
        width: Width F.
        image_height: Height of the frames in pixels.
        image_width: Width of the frames in pixels.
        mean: Mean of each colour channel, of values in [0, 1].
        std: Standard deviation of each colour channel.
        crop_margin: Share by which the image is larger than the crop.
        reading_margin: The same of the images that are read from the video; at least `crop_margin`.
        frames_per_step: Number F of frames that it reads for each row; see `frames_of_steps`.
        step_frames_s: Seconds between two of them.
        precision: Arithmetic of the network, e.g. `float32`.
        device: Where the network runs.
        skipped: Why segments were left out when the network was trained, by split and uid.
        lineage: What the network was learnt from; None of published weights.
    """

    encode: Callable[[Tensor], Tensor]
    name: str
    weights: str
    width: int
    image_height: int
    image_width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_margin: float
    reading_margin: float = 0.0
    frames_per_step: int = 1
    step_frames_s: float = 0.0
    precision: str = "float32"
    device: str = "cpu"
    skipped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lineage: Lineage | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading_margin", max(self.reading_margin, self.crop_margin))

    @property
    def is_of_clips(self) -> bool:
        """Whether it reads several frames for each row."""
        return self.frames_per_step > 1

    def provenance(self, *, fps: float, views: str) -> Provenance:
        """Return what a store of its features says about them.

        Raises:
            ValueError: If there are no such views.
        """
        if views not in EXTRACTED_VIEWS:
            raise ValueError(f"views must be one of {', '.join(EXTRACTED_VIEWS)}, got {views!r}")
        statistics = [", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std)]
        return Provenance(
            encoder=self.name,
            weights=self.weights,
            preprocessing=f"{self.image_height}x{self.image_width} in 8 bits, margin {self.crop_margin:.4g}, read at "
            f"{self.reading_margin:.4g}, mean {statistics[0]}, std {statistics[1]}, views {views} averaged, "
            f"{self.precision}"
            + (f", {self.frames_per_step} frames per row {self.step_frames_s:.4g} s apart" if self.is_of_clips else ""),
            fps=fps,
            skipped={split: dict(reasons) for split, reasons in self.skipped.items()},
            lineage={} if self.lineage is None else self.lineage.to_dict(),
        )


@dataclass
class Extraction:
    """What an extraction did.

    Args:
        done: Videos that this worker finished now.
        kept: Videos that were finished before.
        elsewhere: Videos that another live worker holds.
        failures: Message for each video that cannot be read.
    """

    done: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def raise_failures(self) -> None:
        """Raise where videos failed.

        Raises:
            FeatureError: Counts them and gives the messages of the first ten.
        """
        if self.failures:
            shown = "\n".join(list(self.failures.values())[:10])
            raise FeatureError(
                f"{len(self.failures)} videos could not be extracted, {len(self.done) + len(self.kept)} others are "
                f"done:\n{shown}"
            )


@dataclass(frozen=True)
class _Batch:
    """uint8 frames [T 3 h w] or clips [T F 3 h w] of a video for each view; the last batch says so, or what failed."""

    video_id: str
    times_s: NDArray[np.float64]
    clips: list[Tensor]
    share: float
    is_last: bool
    failure: str = ""


def extract(
    encoder: FrameEncoder,
    videos: Mapping[str, Path],
    writer: FeatureStoreWriter,
    *,
    fps: float,
    batch_size: int = 32,
    views: str = "centre",
    frame_fps: float | Mapping[str, float] | None = None,
    check: Callable[[str, Video], None] | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Extract what is missing in a store; several workers may do so at the same time.

    The features of several views are averaged: a store has one row per instant. To keep views apart, extract each by
    itself (`left`, `right-flip`, ...) to a store of its own.

    Args:
        encoder: The network.
        videos: Video of each video id.
        writer: Store to fill, made with `encoder.provenance(fps=fps, views=views)`.
        fps: Rows per second, > 0.
        batch_size: Frames that are encoded at once, >= 1.
        views: One of `EXTRACTED_VIEWS`.
        frame_fps: Rate at which images were numbered, of all videos that are made of them or of each; see `open_video`.
        check: Called with each video id and its opened video; it raises a `VideoError` where that is not the right one.
        shard: (index, count): do every count-th video only, from the index-th on.
        progress: Called with the bytes of video that are done, by this worker or another, and of all.

    Returns:
        What was done. Videos that cannot be read are in `failures`; call `raise_failures`.

    Raises:
        FeatureError: If the store was made for other features, or the encoder gives what is no feature.
        ValueError: If an argument is out of range.
    """
    if not fps > 0 or batch_size < 1:
        raise ValueError(f"fps and batch_size must be positive, got {fps} and {batch_size}")
    _check_writer(writer, encoder.provenance(fps=fps, views=views))
    ours = shard_of(list(videos), shard)
    result = Extraction(kept=[video_id for video_id in ours if writer.is_finished(video_id)])
    missing = sorted(set(ours) - set(result.kept))
    num_bytes = {video_id: _size(videos[video_id]) for video_id in missing}
    jobs = {video_id: videos[video_id] for video_id in missing}
    rows: list[tuple[NDArray[np.float64], NDArray]] = []
    reading = _Videos(
        jobs, encoder, writer, fps=fps, batch_size=batch_size, views=views, frame_fps=frame_fps, check=check
    )
    state = _Progress(num_bytes, reading.passed, progress)
    try:
        with closing(_ahead(reading.batches())) as batches:
            for batch in batches:
                if batch.failure:
                    result.failures[batch.video_id] = batch.failure
                else:
                    rows.append((batch.times_s, _encode(encoder, batch)))
                state.report(batch)
                if batch.is_last:
                    if not batch.failure:
                        times_s, features = (np.concatenate(parts) for parts in zip(*rows, strict=True))
                        path, video_s = videos[batch.video_id], reading.lengths_s[batch.video_id]
                        writer.write(batch.video_id, times_s, features, video=video_content(path), video_s=video_s)
                        result.done.append(batch.video_id)
                    rows.clear()
                    reading.held.pop(batch.video_id).release()
    finally:
        for lock in reading.held.values():
            lock.release()
    state.report(None)
    for video_id in reading.passed:
        (result.kept if writer.is_finished(video_id) else result.elsewhere).append(video_id)
    return result


def _ahead(batches: Generator[_Batch, None, None]) -> Generator[_Batch, None, None]:
    """Yield batches, the next of which is made in a thread while the present one is encoded."""
    with closing(batches), ThreadPoolExecutor(1, "decoding") as thread:
        pending = thread.submit(next, batches, None)
        while (batch := pending.result()) is not None:
            pending = thread.submit(next, batches, None)
            yield batch


class _Progress:
    """Counts the bytes of video that are done, also of the videos that others did meanwhile."""

    def __init__(
        self, num_bytes: Mapping[str, int], passed: Sequence[str], tell: Callable[[int, int], None] | None
    ) -> None:
        self._num_bytes, self._passed, self._tell = num_bytes, passed, tell
        self._total, self._done = sum(num_bytes.values()), 0.0

    def report(self, batch: _Batch | None) -> None:
        self._done += 0 if batch is None else self._num_bytes[batch.video_id] * batch.share
        done = self._done + sum(self._num_bytes[video_id] for video_id in self._passed)
        if self._tell is not None:
            self._tell(min(round(done), self._total), self._total)


def _check_writer(writer: FeatureStoreWriter, expected: Provenance) -> None:
    found = {name: getattr(writer.description, name) for name in asdict(expected)}
    if found != asdict(expected):
        raise FeatureError(f"{writer.root}: made for {found}, but this extraction gives {asdict(expected)}")


def _size(path: Path) -> int:
    """Return the bytes of a video; of a folder of images, as many as if all were as large as one of them."""
    try:
        if path.is_dir():
            names = os.listdir(path)
            return len(names) * (path / names[0]).stat().st_size if names else 0
        return path.stat().st_size
    except OSError:
        # It cannot be read, which its turn will tell.
        return 0


class _Videos:
    """Locks videos and cuts them into batches.

    `held` are the locks not yet released, `passed` the videos that were finished or locked by others meanwhile.
    `lengths_s` are the lengths in seconds of the videos that were opened; 0 of those made of images, which tell none.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        encoder: FrameEncoder,
        writer: FeatureStoreWriter,
        *,
        fps: float,
        batch_size: int,
        views: str,
        frame_fps: float | Mapping[str, float] | None,
        check: Callable[[str, Video], None] | None,
    ) -> None:
        self.held: dict[str, FileLock] = {}
        self.passed: list[str] = []
        self.lengths_s: dict[str, float] = {}
        self._videos = videos
        self._encoder = encoder
        self._writer = writer
        self._fps = fps
        self._batch_size = batch_size
        self._views = EXTRACTED_VIEWS[views]
        self._frame_fps = frame_fps
        self._check = check
        self._size = ReadingSize(encoder.image_height, encoder.image_width, encoder.reading_margin)
        self._transform = ClipTransform(
            encoder.image_height,
            encoder.image_width,
            encoder.mean,
            encoder.std,
            crop_margin=encoder.crop_margin,
            flip=False,
            brightness=0.0,
            contrast=0.0,
        )

    def batches(self) -> Generator[_Batch, None, None]:
        for video_id, path in self._videos.items():
            lock = self._writer.take(video_id)
            if lock is None:
                self.passed.append(video_id)
                continue
            self.held[video_id] = lock
            try:
                yield from self._video(video_id, path)
            except SgearError as err:
                yield _Batch(video_id, np.empty(0), [], 1.0, is_last=True, failure=str(err))

    def _video(self, video_id: str, path: Path) -> Generator[_Batch, None, None]:
        rate = self._frame_fps.get(video_id) if isinstance(self._frame_fps, Mapping) else self._frame_fps
        before = state_of(path)
        with open_video(path, size=self._size, frame_fps=rate) as reader:
            if self._check is not None:
                self._check(video_id, reader)
            self.lengths_s[video_id] = 0.0 if needs_rate(path) else reader.end_s
            instants_s = np.arange(math.ceil((reader.end_s - TIME_TOLERANCE_S) * self._fps)) / self._fps
            opens_s = opening_s(reader)
            is_there = observable(instants_s, opens_s)
            # Where none is, reading the first says why.
            instants_s = instants_s[is_there | ~is_there.any()]
            for begin in range(0, len(instants_s), self._batch_size):
                asked_s = instants_s[begin : begin + self._batch_size]
                read_s = frames_of_steps(
                    asked_s,
                    frames_per_step=self._encoder.frames_per_step,
                    step_frames_s=self._encoder.step_frames_s,
                    first_s=opens_s,
                )
                frames = reader.frames_played_at(read_s.reshape(-1)).frames
                is_last = begin + self._batch_size >= len(instants_s)
                if is_last:
                    require_unchanged(path, before, VideoError)
                yield _Batch(
                    video_id,
                    asked_s,
                    [self._clips(frames, view) for view in self._views],
                    len(asked_s) / len(instants_s),
                    is_last=is_last,
                )

    def _clips(self, frames: Tensor, view: View) -> Tensor:
        cut = self._transform.evaluate(frames, view)
        return cut.unflatten(0, (-1, self._encoder.frames_per_step)) if self._encoder.is_of_clips else cut


def _encode(encoder: FrameEncoder, batch: _Batch) -> NDArray[np.float32]:
    colour = plain_colour(encoder.mean, encoder.std)[None].to(encoder.device)
    with torch.inference_mode():
        clips = (clip[None].to(encoder.device, non_blocking=True) for clip in batch.clips)
        views = torch.stack([encoder.encode(finish_clip(clip, colour)[0]).float() for clip in clips])
    features = views.mean(dim=0).cpu().numpy()
    expected = (len(batch.times_s), encoder.width)
    if features.shape != expected:
        raise FeatureError(
            f"encoder {encoder.name!r} gave features {features.shape} for {expected[0]} frames, expected {expected}"
        )
    return features
