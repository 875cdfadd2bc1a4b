"""Whatever reads the steps, nothing later than tau_a before the action reaches a model.

Images are evenly grey and grow brighter from frame to frame; rows of features hold the same number. So every value
that a model receives tells which is the latest frame that went into it, through crops, mirroring and averages.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from coded_videos import build_frame_cache, make_video, overwrite_packet, steady
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numbered_files import add_member, image_bytes
from numpy.typing import NDArray
from video_models import avt, frame_encoder, note_clips, segments_at, trained, vit

from sgear.anticipator import Anticipator
from sgear.data import AnticipationDataset, FeatureSource, StepLabels, VideoSource
from sgear.data.loader import make_loader, whole_batches
from sgear.errors import VideoError
from sgear.features import FeatureStoreWriter, FeatureTable, VideoFeatures, side_by_side
from sgear.features.extract import extract
from sgear.features.lmdb import LmdbFeatures
from sgear.losses import Objective, ObjectiveConfig
from sgear.models import EncoderConfig
from sgear.models.pretrained import Preprocessing
from sgear.taxonomy import Taxonomy
from sgear.timing import TIME_TOLERANCE_S, AnticipationProtocol, VJepaProtocol
from sgear.training.config import RuntimeConfig
from sgear.training.evaluate import run_model
from sgear.training.loop import TrainStep, make_accelerator
from sgear.video import open_video
from sgear.video.pool import VideoPool
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.transforms import VIEWS, ClipTransform

NUM_FRAMES = 60
DARKEST, STEP = 10, 4
# Colours lose up to two levels on the way through a codec; a neighbour would be at least two levels too bright.
TOO_DARK, TOO_BRIGHT = -2.3, 1.3
SIZE = (16, 24)
TRANSFORM = ClipTransform(
    *SIZE, (0.0,) * 3, (1.0,) * 3, crop_margin=0.1, scale_jitter=(0.0, 0.4), flip=True, brightness=0.0, contrast=0.0
)
SEEN = Preprocessing(kind="video", height=16, width=24, mean=(0.0,) * 3, std=(1.0,) * 3, crop_margin=0.1)
STORED = replace(SEEN, reading_margin=0.4)
TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion"])
VIDEOS = ("video", "copy", "folder", "tar", "cache")
FEATURES = ("table", "store", "lmdb", "several")
# These give the newest frame, the others the newest of those they keep.
ALL_FRAMES = ("video", "copy", "folder", "tar", "table")


def grey_of(idx):
    return DARKEST + STEP * idx


@dataclass(frozen=True)
class World:
    """A recording in every form in which it may be stored: sources of steps, videos, and when each frame began."""

    sources: dict[str, VideoPool | object]
    paths: dict[str, Path]
    times_s: dict[str, tuple[NDArray[np.float64], ...]]

    def newest(self, kind: str, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the value of the newest frame at each instant, of each column of the features [T F]."""
        counts = [(times_s[:, None] <= instants_s + TIME_TOLERANCE_S).sum(axis=0) for times_s in self.times_s[kind]]
        return grey_of(np.stack(counts, axis=1) - 1)


def _image(idx: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), grey_of(idx), np.uint8)


def _numbered(root: Path) -> tuple[Path, Path]:
    folder, archive = root / "folder", root / "video.tar"
    folder.mkdir()
    with tarfile.open(archive, "w") as tar:
        for idx in range(NUM_FRAMES):
            content = image_bytes(idx, size=(24, 40), image=_image)
            (folder / f"frame_{idx + 1:010d}.jpg").write_bytes(content)
            add_member(tar, f"frame_{idx + 1:010d}.jpg", content)
    return folder, archive


def _store(path: Path, root: Path, fps: float):
    encoder = frame_encoder(lambda frames: 255 * frames.mean(dim=(1, 2, 3))[:, None], "grey", 1, STORED)
    writer = FeatureStoreWriter(root, encoder.provenance(fps=fps, views="three-crop-flip"), width=1)
    extract(encoder, {"v": path}, writer, fps=fps, views="three-crop-flip")
    return writer.finish()


def _lmdb(path: Path) -> tuple[LmdbFeatures, NDArray[np.float64]]:
    numbers = range(1, 10 * NUM_FRAMES, 10)
    with lmdb.open(str(path), map_size=1 << 22, lock=False) as environment, environment.begin(write=True) as writing:
        for idx, number in enumerate(numbers):
            writing.put(f"v_frame_{number:010d}.jpg".encode(), np.array([grey_of(idx)], np.float32).tobytes())
    # Frame n counts as seen at n / 30 s.
    return LmdbFeatures(path), np.array(numbers) / 30


@pytest.fixture(scope="module", params=["mp4-7", "mkv-3"])
def world(request, tmp_path_factory) -> World:
    suffix, _, seed = request.param.partition("-")
    rng = np.random.default_rng(int(seed))
    root = tmp_path_factory.mktemp("world")
    uneven_s = np.concatenate([[0.0], np.cumsum(rng.choice([17, 33, 100, 400], NUM_FRAMES - 1))]) / 1000
    video = make_video(
        root / f"video.{suffix}", uneven_s.tolist(), num_b=2, image=_image, size=(24, 40), x264="qp=1", gop=11
    )
    make_copy(video, root / "copy.mp4", CopySettings(short_side=16, crf=1, gop=5))
    folder, archive = _numbered(root)
    rate = float(rng.choice([2.0, 7.0, 29.97, 59.94]))
    size = (20, 34)
    cache = build_frame_cache(
        {"v": video}, root / "cache", height=size[0], width=size[1], fps=float(rng.choice([3.0, 11.0])), num_processes=1
    )
    row_s = np.sort(rng.uniform(0, 20, NUM_FRAMES))
    rows = np.array([[grey_of(idx)] for idx in range(NUM_FRAMES)], np.float32)
    table = FeatureTable({"v": VideoFeatures(row_s, rows, "table")})
    store = _store(video, root / "store", float(rng.choice([1.7, 4.0, 12.5])))
    database, database_s = _lmdb(root / "lmdb")
    paths = {"video": video, "copy": root / "copy.mp4", "folder": folder, "tar": archive}
    rates = {"folder": rate, "tar": rate}
    pools = {kind: VideoPool({"v": path}, size=size, frame_fps=rates.get(kind)) for kind, path in paths.items()}
    several = side_by_side({"a": store, "b": table})
    even_s = np.arange(NUM_FRAMES) / rate
    times_s = dict.fromkeys(("video", "copy", "cache", "store"), (uneven_s,))
    times_s |= {"folder": (even_s,), "tar": (even_s,), "table": (row_s,), "lmdb": (database_s,)}
    times_s["several"] = (uneven_s, row_s)
    tables = {"table": table, "store": store, "lmdb": database, "several": several}
    return World({**pools, "cache": cache, **tables}, paths, times_s)


def _model(kind: str, num_steps: int):
    encoder = EncoderConfig(feature_dim=2 if kind == "several" else 1) if kind in FEATURES else vit(*SIZE, 8)
    return avt(encoder, width=8, num_steps=num_steps, num_actions=TAXONOMY.num_actions)


def _greys(clips: list[tuple[torch.Tensor, torch.Tensor]], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of each step of each clip or the brightest value of its image [M T F], and what exists."""
    clip = torch.cat([clip for clip, _ in clips])
    mask = torch.cat([mask for _, mask in clips])
    assert (clip[~mask] == 0).all()
    return (clip if kind in FEATURES else 255 * clip.flatten(2).amax(dim=-1, keepdim=True)).numpy(), mask.numpy()


@st.composite
def _protocols(draw):
    fps = draw(st.sampled_from([1.0, 3.0, 4.0, 29.97]))
    kind = draw(st.sampled_from([AnticipationProtocol, AnticipationProtocol, VJepaProtocol]))
    protocol = kind(
        tau_a_s=draw(st.floats(0.01, 2.0)),
        tau_o_s=draw(st.integers(1, 5)) / fps,
        fps=fps,
        short_history=draw(st.sampled_from(["mask", "repeat"])),
    )
    if isinstance(protocol, AnticipationProtocol) and draw(st.booleans()):
        return protocol.at_tau_a(draw(st.floats(0.01, 3.0)))
    return protocol


@pytest.mark.parametrize("kind", [*VIDEOS, *FEATURES])
def test_nothing_later_than_tau_a_before_the_action_reaches_a_model(world, kind):
    first_s = max(times_s[0] for times_s in world.times_s[kind])
    last_s = min(times_s[-1] for times_s in world.times_s[kind])

    @given(protocol=_protocols(), data=st.data())
    @settings(max_examples=10, phases=[Phase.generate])
    def law(protocol, data):
        # Instants on a frame are where rounding counts.
        instants = st.sampled_from(world.times_s[kind][-1].tolist()) | st.floats(0.0, last_s)
        nows_s = [t_s for t_s in data.draw(st.lists(instants, min_size=1, max_size=3)) if first_s < t_s <= last_s]
        ahead_s = protocol.tau_a_s - (0.5 if isinstance(protocol, VJepaProtocol) else 0.0)
        starts_s = [now_s + ahead_s for now_s in nows_s if now_s + ahead_s >= 0]
        if not starts_s:
            return
        table = segments_at(starts_s, TAXONOMY)
        limits_s = np.array([protocol.anchor_s(s.start_s, s.stop_s) - protocol.tau_a_s for s in table])
        view = data.draw(st.sampled_from(VIEWS["three-crop-flip"]))
        pool_s = data.draw(st.sampled_from([0.0, 0.7]))
        is_training = data.draw(st.booleans())
        samples = AnticipationDataset(
            table,
            protocol,
            StepLabels(table),
            FeatureSource(world.sources[kind], pool_s=pool_s)
            if kind in FEATURES
            else VideoSource(world.sources[kind], TRANSFORM, view),
            seed=data.draw(st.integers(0, 9)) if is_training else None,
            tau_a_jitter_s=data.draw(st.sampled_from([0.0, 1.5])) if is_training else 0.0,
        )
        _, model = _model(kind, protocol.num_steps)
        clips = note_clips(model)
        if is_training:
            step = TrainStep(model, Objective(ObjectiveConfig())).train()
            for batch in whole_batches(make_loader(samples, batch_size=2, num_workers=0)):
                step(batch)
        else:
            run_model(model, samples, make_accelerator(RuntimeConfig(device="cpu")), batch_size=2)
        greys, mask = _greys(clips, kind)
        assert mask.any(axis=1).all()
        for limit_s, seen, are_there in zip(limits_s, greys, mask, strict=True):
            steps_s = limit_s - np.arange(protocol.num_steps)[::-1] / protocol.fps
            if protocol.short_history == "repeat":
                steps_s = np.maximum(steps_s, samples.source.first_s("v"))
            off = (seen - world.newest(kind, steps_s))[are_there]
            assert (off < TOO_BRIGHT).all(), off
            if kind in ALL_FRAMES and not is_training and not pool_s:
                assert (off > TOO_DARK).all(), off

    law()


def _anticipator(
    kind: str, protocol: AnticipationProtocol
) -> tuple[Anticipator, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Return a model of videos, and the clips that it reads from now on."""
    config, model = _model(kind, protocol.num_steps)
    return Anticipator(trained(config, model, TAXONOMY, protocol, SEEN)), note_clips(model)


@pytest.mark.parametrize("kind", ["video", "copy", "folder", "tar"])
def test_nothing_later_than_now_reaches_a_model_that_forecasts_a_video(world, kind):
    protocol = AnticipationProtocol(tau_a_s=0.9, tau_o_s=1.2, fps=5.0)
    anticipator, clips = _anticipator(kind, protocol)
    times_s = world.times_s[kind][0]
    rate = 1 / times_s[1] if kind in ("folder", "tar") else None
    # The last of one row of forecasts falls on a frame.
    for every_s in (times_s[-1] / 12, 0.617):
        clips.clear()
        forecasts = list(anticipator.anticipate(world.paths[kind], every_s=float(every_s), frame_fps=rate))
        greys, mask = _greys(clips, kind)
        for forecast, seen, are_there in zip(forecasts, greys, mask, strict=True):
            steps_s = forecast.now_s - np.arange(protocol.num_steps)[::-1] / protocol.fps
            off = (seen - world.newest(kind, steps_s))[are_there]
            assert ((off > TOO_DARK) & (off < TOO_BRIGHT)).all(), off


def test_a_video_that_lacks_its_first_frames_shows_none_before_its_time(tmp_path):
    coding = {"gop": 1, "size": (24, 40), "x264": "qp=1"}
    path = make_video(tmp_path / "video.mp4", steady(50, 90), rate=90, image=_image, **coding)
    for packet_idx in range(3):
        overwrite_packet(path, path, packet_idx)
    with open_video(path) as video:
        first_s = video.first_pts_s
        assert first_s == pytest.approx(3 / 90)
        with pytest.raises(VideoError, match="cannot be decoded"):
            video.frames_played_at([0.02])
        assert next(video.iterate())[1] == first_s
    protocol = AnticipationProtocol(tau_a_s=0.9, tau_o_s=1.2, fps=5.0)
    anticipator, clips = _anticipator("video", protocol)
    forecasts = list(anticipator.anticipate(path, every_s=0.02))
    assert forecasts[0].now_s == pytest.approx(0.04)
    assert _greys(clips, "video")[1][0].tolist() == [False] * (protocol.num_steps - 1) + [True]
    assert _store(path, tmp_path / "store", 50.0)["v"].first_s == pytest.approx(0.04)
