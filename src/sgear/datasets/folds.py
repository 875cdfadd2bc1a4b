"""Folds of a training set by participant: settings are chosen on people the model has not seen, never on test data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from sgear.datasets.benchmark import Benchmark


def participant_folds(benchmark: Benchmark, *, num_folds: int, seed: int = 0) -> list[Benchmark]:
    """Split the training set of a benchmark into benchmarks that validate on held-out participants.

    The validation set of the given benchmark is in none of them.

    Args:
        benchmark: Where the training set comes from.
        num_folds: Number of folds, at least 2.
        seed: Seed of the order of participants.

    Raises:
        ValueError: If there are fewer participants than folds, or fewer than two folds.
    """
    participants = np.unique(benchmark.train.column("participant_id").astype(str))
    if not 2 <= num_folds <= len(participants):
        raise ValueError(f"num_folds must be in [2, {len(participants)}] (participants), got {num_folds}")
    order = np.random.default_rng(seed).permutation(participants)
    unscored = benchmark.unscored
    if unscored is not None:
        # Early segments of training videos stay as past; those of the test videos go with their videos.
        unscored = unscored.filter(pl.col("video_id").is_in(benchmark.train.video_ids))
    folds = []
    for index in range(num_folds):
        is_held_out = pl.col("participant_id").is_in(order[index::num_folds].tolist())
        folds.append(
            replace(
                benchmark,
                name=f"{benchmark.name}-fold{index}",
                train=benchmark.train.filter(~is_held_out),
                validation=benchmark.train.filter(is_held_out),
                unscored=unscored,
            )
        )
    return folds
