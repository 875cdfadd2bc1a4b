"""Recipes on the real annotations of their data set: generated features and videos under real names.

The annotations are read by the ordinary loader and cut to these videos, with the whole vocabulary. Videos last as long
as the real ones, and a column of the features says when each row was seen.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import torch
from tiny_recipes import WIDTHS, TinyRuns, configs

from sgear.data import AnticipationDataset
from sgear.datasets import Benchmark, load_dataset
from sgear.experiment.build import build_data
from sgear.experiment.schema import ExperimentConfig
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.prototypes import LanguagePrototypes
from sgear.taxonomy import Taxonomy

ROWS_PER_S, FRAMES_PER_S = 4, 2
MINUTE_S = 60.0
"""The first column of the features holds the time of the row in minutes, so that it is no larger than the others."""


def recipes_of(family: str) -> list[object]:
    """Return the recipes of a data set as parameters of a test; those that differ in their features alone are slow."""
    names = [name for name in configs() if name.startswith(f"{family}/")]
    like_others = re.compile(r".*(flow|obj|igm).*|.*/rulstm")
    return [pytest.param(name, marks=pytest.mark.slow) if like_others.fullmatch(name) else name for name in names]


@contextmanager
def recipes_on(
    name: str, videos: Mapping[str, float], *, annotations: Path, out: Path, folder: str
) -> Iterator[tuple[TinyRuns, Benchmark]]:
    """Give runs of the recipes of a data set on some of its videos, and what is annotated there.

    Args:
        name: Data set.
        videos: Length in seconds by video id.
        annotations: Folder of the real data.
        out: Where features, videos and runs go.
        folder: Folder of the videos under SGEAR_DATA.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGEAR_DATA", str(annotations))
        benchmark = _cut(load_dataset(name), list(videos))
        patch.setenv("SGEAR_DATA", str(out))
        # What a run notes of its data, such as the digests of the annotation files, is read from the real ones.
        for place in ("epic-kitchens-100-annotations", "epic-kitchens-55-annotations", "rulstm"):
            (out / place).symlink_to(annotations / place)
        patch.setattr("sgear.experiment.build.load_dataset", lambda *args, **settings: benchmark)
        for feature, width in WIDTHS.items():
            _write_features(out / name / "features" / feature, videos, width)
        for video_id, length_s in videos.items():
            _write_video(out / "videos" / folder / video_id.partition("_")[0] / f"{video_id}.MP4", length_s)
        yield TinyRuns(out / "runs", lambda recipe: [], _random_language), benchmark


def seen_after_limit_s(config: ExperimentConfig) -> float:
    """Return how many seconds after the last allowed instant any step of a recipe on stored features was seen."""
    data, latest_s = build_data(config), -np.inf
    for samples in (data.train, *data.asked.views):
        assert isinstance(samples, AnticipationDataset)
        for segment, sample in zip(samples.segments, samples, strict=True):
            seen_s = sample["clip"][sample["mask"]][:, 0].numpy() * MINUTE_S
            latest_s = max(latest_s, float(seen_s.max()) - (segment.start_s - samples.protocol.tau_a_s))
    return latest_s


def _cut(benchmark: Benchmark, video_ids: list[str]) -> Benchmark:
    in_videos = pl.col("video_id").is_in(video_ids)
    return replace(
        benchmark,
        train=benchmark.train.filter(in_videos),
        validation=benchmark.validation.filter(in_videos),
        tests={part: table.filter(in_videos) for part, table in benchmark.tests.items()},
    )


def _write_features(folder: Path, videos: Mapping[str, float], width: int) -> None:
    rng = np.random.default_rng(width)
    made = Provenance(encoder="random", weights="", preprocessing="none", fps=float(ROWS_PER_S))
    writer = FeatureStoreWriter(folder, made, width=width)
    for video_id, length_s in videos.items():
        times_s = np.arange(int(length_s * ROWS_PER_S) + 1) / ROWS_PER_S
        rows = rng.standard_normal((len(times_s), width), dtype=np.float32)
        rows[:, 0] = times_s / MINUTE_S
        writer.write(video_id, times_s, rows)
    writer.finish()


def _write_video(path: Path, length_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    with av.open(path, "w") as video:
        stream = video.add_stream("libx264", rate=FRAMES_PER_S, options={"preset": "ultrafast", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = 36, 64, "yuv420p"
        for number in range(int(length_s * FRAMES_PER_S) + 1):
            frame = av.VideoFrame.from_ndarray(np.roll(shades, number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))


def _random_language(taxonomy: Taxonomy) -> LanguagePrototypes:
    """Stand in for sentence embeddings of thousands of names, which take longer than all runs."""
    vectors = torch.randn(taxonomy.num_actions, 384, generator=torch.Generator().manual_seed(0))
    texts = tuple(map(str, range(taxonomy.num_actions)))
    return LanguagePrototypes(vectors=vectors, texts=texts, encoder="random", taxonomy=taxonomy)
