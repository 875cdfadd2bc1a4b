"""How long an encoder waits for a loader of two processes that reads films: for `benchmarks/data.py`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from data_films import make_film
from data_ratios import Ratio, compare

from sgear.data import AnticipationDataset, StepLabels, VideoSource
from sgear.data.loading import make_loader, whole_batches
from sgear.models.frame_features import timm_frame_encoder
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol
from sgear.video.colours import finish_clip
from sgear.video.pool import FilmPool
from sgear.video.sizes import ReadingSize
from sgear.video.transforms import ClipTransform

SECONDS, STEPS, NUM_FILMS, NUM_CLIPS = 60, 15, 2, 16
ENCODER = "vit_small_patch16_224"


def draw_segments() -> SegmentTable:
    """Return actions anywhere in the films."""
    rng = np.random.default_rng(3)
    starts_s = rng.uniform(STEPS + 1, SECONDS - 1, NUM_CLIPS)
    taxonomy = Taxonomy.from_labels(["take cup"])
    frame = pl.DataFrame(
        {
            "uid": [f"clip{index}" for index in range(NUM_CLIPS)],
            "participant_id": ["P01"] * NUM_CLIPS,
            "video_id": [f"film{index % NUM_FILMS}" for index in range(NUM_CLIPS)],
            "start_s": starts_s,
            "stop_s": starts_s + 0.5,
            "verb_id": np.zeros(NUM_CLIPS, dtype=np.int64),
            "noun_id": np.zeros(NUM_CLIPS, dtype=np.int64),
            "action_id": np.zeros(NUM_CLIPS, dtype=np.int64),
        }
    )
    return SegmentTable(frame, taxonomy, origin="benchmark")


def loader_ratios(folder: Path, *, rounds: int) -> list[Ratio]:
    """Encode clips of 15 frames of short-GOP films, as training reads them, and say which share the encoder works."""
    film = make_film(folder / "short-30.mp4", seconds=SECONDS, fps=30, key_distance=15)
    encoder = timm_frame_encoder(ENCODER, pretrained=False)
    size = (encoder.image_height, encoder.image_width)
    transform = ClipTransform(
        *size, encoder.mean, encoder.std, crop_margin=0.14, flip=True, brightness=0.2, contrast=0.2
    )
    pool = FilmPool(
        {f"film{index}": film for index in range(NUM_FILMS)}, size=ReadingSize(*size, transform.reading_margin)
    )
    segments = draw_segments()
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=float(STEPS), fps=1.0)
    samples = AnticipationDataset(segments, protocol, StepLabels(segments), VideoSource(pool, transform), seed=0)
    busy_s: list[float] = []
    whole_s: list[float] = []
    for _ in range(rounds + 1):
        busy, first = 0.0, 0.0
        for batch_idx, batch in enumerate(whole_batches(make_loader(samples, batch_size=1, num_workers=2))):
            began = time.perf_counter()
            # The start of the processes is paid once per epoch, however long that is: it is not counted.
            first = first or began
            clip = finish_clip(batch["clip"], batch["colour"], batch["exists"])
            with torch.inference_mode():
                encoder.encode(clip.flatten(0, 1))
            busy += time.perf_counter() - began
            assert batch_idx < NUM_CLIPS
        busy_s.append(busy)
        whole_s.append(time.perf_counter() - first)
    name = f"share of the time in which {ENCODER} works, fed by two processes"
    return [compare(name, whole_s[1:], busy_s[1:], target=0.9)]
