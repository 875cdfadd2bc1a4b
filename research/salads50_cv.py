"""Choose the settings of the 50 Salads experiments on training videos only.

Each variant is trained on folds of the training participants of splits 1 and 2 and scored on the held-out ones. The
features of a held-out training video are cleaner than those of a test video, since the Spatial-CNN was fitted to both
sides of a fold; so each is scored a second time after class confusion of strength 0.8 ("unsure"). Choose by that one.

    python research/salads50_cv.py --out runs --variants avt sgear avt-no-confusion --folds 2 --seeds 1
"""

# ruff: noqa: T201, D103

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.data import StepLabels
from sgear.datasets import Benchmark, participant_folds
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_feature_data, load_benchmark, load_features, row_labels
from sgear.experiment.network import build_network, build_objective
from sgear.experiment.schema import ExperimentConfig
from sgear.features import FeatureTable, VideoFeatures
from sgear.features.frame_classes import ClassConfusion
from sgear.metrics.ranks import top_k_accuracy
from sgear.training.evaluate import run_model
from sgear.training.loop import fit
from sgear.training.run import RunDirectory

NUM_FOLDS = 4
UNSURE = 0.8
NUM_DRAWS = 2

AVT, SGEAR = "salads50/spatialcnn_avt", "salads50/spatialcnn"
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "avt": (AVT, []),
    "avt-no-confusion": (AVT, ["source.confusion=0"]),
    "avt-no-recogniser": (AVT, ["model.encoder.recogniser=false", "model.encoder.init_gain=1"]),
    "avt-positions": (AVT, ["model.decoder.positions=true"]),
    "avt-60s": (AVT, ["protocol.tau_o_s=60"]),
    "avt-10s-steps": (AVT, ["protocol.fps=0.1", "source.pool_s=10", "source.tau_a_jitter_s=8"]),
    "avt-noise": (AVT, ["model.encoder.feature_noise=0.1"]),
    "avt-lr8e-3": (AVT, ["optim.lr=8e-3"]),
    "avt-lr1e-3": (AVT, ["optim.lr=1e-3"]),
    "avt-last-step-only": (AVT, ["objective.next=0", "source.next_within_s=0"]),
    "avt-every-step-12s": (AVT, ["source.next_within_s=12"]),
    "avt-20-epochs": (AVT, ["optim.epochs=20", "optim.warmup_epochs=2"]),
    "sgear": (SGEAR, []),
    "sgear-no-sem-no-reg": (SGEAR, ["objective.sem=0", "objective.reg=0", "init.language_prototypes=''"]),
    "sgear-open-gates": (SGEAR, ["model.prototype_attention.gate=3", "model.head.gate=4"]),
    "sgear-stronger-sem": (SGEAR, ["objective.sem=1", "objective.reg=0.5"]),
    "sgear-past": (SGEAR, ["objective.past=1"]),
    "sgear-past-all": (SGEAR, ["objective.past=1", "objective.past_mean=all"]),
    "accelerometer-avt": ("salads50/accelerometer_avt", []),
    "accelerometer-confusion": ("salads50/accelerometer_avt", ["source.confusion=0.3"]),
    "accelerometer-noise": ("salads50/accelerometer_avt", ["model.encoder.feature_noise=0.3"]),
}
SHARES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


def unsure_copy(
    table: FeatureTable, labels: Mapping[str, NDArray[np.int64]], confusion: ClassConfusion, *, seed: int
) -> FeatureTable:
    """Return a table in which the labelled videos are corrupted and all others are as they were.

    It makes held-out training videos resemble new ones, so that settings can be chosen without any test video.

    Args:
        table: Features.
        labels: Action of each row of the videos to corrupt, -1 for none.
        confusion: Built from other videos than these.
        seed: Seed of the draw.
    """
    videos = {name: table[name] for name in table.video_ids}
    for index, (name, actions) in enumerate(labels.items()):
        rows = confusion.corrupt(table[name].features, actions, np.random.default_rng([seed, index]))
        videos[name] = VideoFeatures(table[name].times_s, rows, f"{table[name].origin} (corrupted)")
    return FeatureTable(videos)


def unsure_table(benchmark: Benchmark, table: FeatureTable, seed: int) -> FeatureTable:
    """Return the features with those of the held-out videos corrupted by rows of the training videos."""
    labels, actions = StepLabels(benchmark.timeline), benchmark.taxonomy.num_actions
    known = row_labels(table, labels, benchmark.train.video_ids)
    confusion = ClassConfusion(table, known, num_actions=actions, strength=UNSURE)
    held_out = row_labels(table, labels, benchmark.validation.video_ids)
    return unsure_copy(table, held_out, confusion, seed=seed)


def train_and_score(
    config: ExperimentConfig, fold: Benchmark, table: FeatureTable
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """Train on a fold; return the scores of its held-out segments, clean first, then one per draw, and the targets."""
    data = build_feature_data(config, fold, table)
    model = build_network(config, data).model
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            model,
            build_objective(config, data),
            data.train,
            optim=config.optim,
            runtime=config.runtime,
            seed=config.seed,
            run=RunDirectory(Path(folder)),
        )
    scores = []
    for draw in range(NUM_DRAWS + 1):
        shown = table if draw == 0 else unsure_table(fold, table, seed=1000 + draw)
        seen = build_feature_data(config, fold, shown).validation
        outputs = run_model(result.model, seen, result.accelerator, batch_size=config.optim.batch_size)
        scores.append(outputs.logits.float().cpu().numpy())
    return scores, data.validation.segments.column("action_id")


def cross_validate(name: str, overrides: list[str], *, num_folds: int, seeds: int) -> None:
    """Print the mean scores of a variant in percent."""
    clean, unsure, began = [], [], time.monotonic()
    for split in (1, 2):
        config = compose_experiment([*overrides, f"dataset.split={split}"])
        benchmark, table = load_benchmark(config.dataset), load_features(config)
        for index, fold in enumerate(participant_folds(benchmark, num_folds=NUM_FOLDS, seed=split)[:num_folds]):
            for seed in range(seeds):
                seeded = compose_experiment([*overrides, f"dataset.split={split}", f"seed={seed + 10 * index}"])
                scores, targets = train_and_score(seeded, fold, table)
                marks = [[100 * top_k_accuracy(values, targets, k=k) for k in (1, 5)] for values in scores]
                clean.append(marks[0])
                unsure.append(np.mean(marks[1:], axis=0))
    spread = np.std(np.asarray(unsure)[:, 0]) / len(unsure) ** 0.5
    seconds = (time.monotonic() - began) / len(clean)
    (u1, u5), (c1, c5) = np.mean(unsure, axis=0), np.mean(clean, axis=0)
    print(
        f"{name:24s} unsure {u1:5.1f} (s.e. {spread:.1f}) / {u5:5.1f}   clean {c1:5.1f} / {c5:5.1f}   "
        f"{len(clean)} models, {seconds:.1f} s each",
        flush=True,
    )


def cross_validate_fusion(base: list[str], *, num_folds: int) -> None:
    """Print top-1 of the late fusion of camera and accelerometer (AVT head) for each share of the camera."""
    hits: list[list[float]] = []
    for split in (1, 2):
        for index in range(num_folds):
            probs = []
            for experiment in (AVT, "salads50/accelerometer_avt"):
                config = compose_experiment([f"experiment={experiment}", *base, f"dataset.split={split}"])
                benchmark, table = load_benchmark(config.dataset), load_features(config)
                fold = participant_folds(benchmark, num_folds=NUM_FOLDS, seed=split)[index]
                scores, targets = train_and_score(config, fold, table)
                # The accelerometer was fitted to nobody: its held-out features are as they are.
                shown = scores[1:] if experiment == AVT else [scores[0]] * NUM_DRAWS
                probs.append(torch.from_numpy(np.stack(shown)).softmax(dim=-1).numpy())
            for eye, hand in zip(*probs, strict=True):
                fused = [share * eye + (1 - share) * hand for share in SHARES]
                hits.append([100 * top_k_accuracy(values, targets, k=1) for values in fused])
    for share, value in zip(SHARES, np.mean(hits, axis=0), strict=True):
        print(f"camera share {share:.1f}: unsure top-1 {value:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="folder that holds salads50-language.safetensors"
    )
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--folds", type=int, default=2, help=f"folds to use, of {NUM_FOLDS}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides for all variants")
    parser.add_argument("--fusion", action="store_true", help="choose the share of the camera instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = [f"output_root={args.out}", "runtime.device=cpu", *args.set]
    if args.fusion:
        cross_validate_fusion(base, num_folds=args.folds)
        return
    for name in args.variants:
        experiment, overrides = VARIANTS[name]
        settings = [f"experiment={experiment}", *base, *overrides]
        cross_validate(name, settings, num_folds=args.folds, seeds=args.seeds)


if __name__ == "__main__":
    main()
