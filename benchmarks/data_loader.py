"""How long an encoder waits for a loader of two processes that reads videos: for `benchmarks/data.py`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from data_ratios import Ratio, Sizes, compare
from data_videos import make_copy, make_video

from sgear.data import AnticipationDataset, StepLabels, VideoSource
from sgear.data.loader import make_loader, whole_batches
from sgear.models.encoders.extraction import timm_frame_encoder
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol
from sgear.video.pool import ReadingSize, VideoPool
from sgear.video.transforms import ClipTransform, finish_clip

STEPS, NUM_VIDEOS = 15, 2
ENCODER = "vit_small_patch16_224"


def draw_segments(sizes: Sizes) -> SegmentTable:
    """Return actions anywhere in the videos."""
    rng, num_clips = np.random.default_rng(3), sizes.num_clips
    starts_s = rng.uniform(STEPS + 1, sizes.seconds - 1, num_clips)
    taxonomy = Taxonomy.from_labels(["take cup"])
    frame = pl.DataFrame(
        {
            "uid": [f"clip{index}" for index in range(num_clips)],
            "participant_id": ["P01"] * num_clips,
            "video_id": [f"video{index % NUM_VIDEOS}" for index in range(num_clips)],
            "start_s": starts_s,
            "stop_s": starts_s + 0.5,
            "verb_id": np.zeros(num_clips, dtype=np.int64),
            "noun_id": np.zeros(num_clips, dtype=np.int64),
            "action_id": np.zeros(num_clips, dtype=np.int64),
        }
    )
    return SegmentTable(frame, taxonomy, origin="benchmark")


def loader_ratios(folder: Path, *, rounds: int, sizes: Sizes) -> list[Ratio]:
    """Encode clips of 15 frames of training copies, as training reads them, and say which share the encoder works.

    The encoder has all threads that torch takes by itself. A round is an epoch with new processes, so nothing is made
    ahead when the clock starts. One share counts from there; the other from the first clip on, as the start of the
    processes is paid once in an epoch, however long that is.
    """
    video = make_copy(make_video(folder / "original-30.mp4", seconds=sizes.seconds))
    encoder = timm_frame_encoder(ENCODER, pretrained=False)
    size = (encoder.image_height, encoder.image_width)
    transform = ClipTransform(
        *size, encoder.mean, encoder.std, crop_margin=0.14, flip=True, brightness=0.2, contrast=0.2
    )
    pool = VideoPool(
        {f"video{index}": video for index in range(NUM_VIDEOS)}, size=ReadingSize(*size, transform.reading_margin)
    )
    segments = draw_segments(sizes)
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=float(STEPS), fps=1.0)
    samples = AnticipationDataset(segments, protocol, StepLabels(segments), VideoSource(pool, transform), seed=0)
    busy_s, cold_s, warm_s = [], [], []
    for _ in range(rounds + 1):
        busy, first, num_clips = 0.0, 0.0, 0
        started = time.perf_counter()
        for batch in whole_batches(make_loader(samples, batch_size=1, num_workers=2)):
            began = time.perf_counter()
            first = first or began
            clip = finish_clip(batch["clip"], batch["colour"], batch["mask"])
            with torch.inference_mode():
                encoder.encode(clip.flatten(0, 1))
            busy += time.perf_counter() - began
            num_clips += 1
        ended = time.perf_counter()
        assert num_clips == sizes.num_clips
        busy_s.append(busy)
        cold_s.append(ended - started)
        warm_s.append(ended - first)
    name = f"share of the time in which {ENCODER} works, fed by two processes"
    return [
        compare(f"{name}: {sizes.num_clips} clips from the first one on", warm_s[1:], busy_s[1:], target=0.9),
        compare(f"{name}: the same with the start of the processes", cold_s[1:], busy_s[1:]),
    ]
