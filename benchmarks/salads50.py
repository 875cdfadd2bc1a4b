"""The 50 Salads table: trains and scores everything on splits 1 and 2, and writes docs/results/salads50.md.

    make salads50          (that is: python benchmarks/salads50.py; about 25 minutes on one core)

A finished run is not trained again, so a run that was stopped goes on where it was. Delete the folder to start anew.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.data import WindowDataset, collate
from sgear.data.dataset import Sample
from sgear.datasets import participant_folds
from sgear.datasets.csv_table import read_lines
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, build_feature_data, dataset_root, load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.train import train_run
from sgear.metrics.ranks import top_k_accuracy
from sgear.metrics.statistics import PairedTest, paired_test
from sgear.models import Baseline, RegressionConfig, build_model
from sgear.predictions import Predictions, late_fuse
from sgear.prototypes.original import import_original_encodings
from sgear.training.run import RunDirectory, read_json, write_json

SPLITS, SEEDS = (1, 2), (0, 1, 2, 3, 4)
CHOICES_OF_C = (0.001, 0.003, 0.01, 0.1)
NUM_FOLDS = 4
# Share of the camera in late fusion, chosen on training videos: research/salads50_cv.py --fusion, research/LOG.md.
CAMERA_SHARE = 0.6
# Features and their width, as baselines take them.
FEATURES = {"camera": ("spatialcnn", 128), "accelerometer": ("accelerometer", 30)}
MODELS = {
    ("AVT head", "camera"): "salads50/spatialcnn_avt",
    ("S-GEAR", "camera"): "salads50/spatialcnn",
    ("AVT head", "accelerometer"): "salads50/accelerometer_avt",
    ("S-GEAR", "accelerometer"): "salads50/accelerometer",
}
POOLED, HISTORY, BOTH = "pooled logistic regression", "regression on histories", "camera + accelerometer"
Row = dict[tuple[int, int], Predictions]


def language_prototypes(out: Path) -> None:
    """Write the sentence embeddings of the class names in the order of the data set."""
    path = out / "salads50-language.safetensors"
    if not path.is_file():
        root = dataset_root(DatasetConfig(name="salads50-tcn"))
        names = [line.split(maxsplit=1)[-1] for _, line in read_lines(root / "mapping.txt", remedy="Get it again.")]
        taxonomy = load_benchmark(DatasetConfig(name="salads50-tcn")).taxonomy
        encodings = root.parent / "language-prototypes" / "encodings_50salads.pth"
        import_original_encodings(encodings, names, taxonomy).save(path)


def trained(out: Path, experiment: str, split: int, seed: int, *overrides: str) -> Predictions:
    """Train one model, or take the finished run, and return its predictions."""
    name = "-".join([experiment, *overrides, f"split{split}-seed{seed}"]).replace("/", "-")
    run = RunDirectory(out / name)
    if not run.report.is_file():
        shutil.rmtree(run.path, ignore_errors=True)
        settings = [f"experiment={experiment}", f"name={name!r}", *overrides, f"output_root={out}", f"seed={seed}"]
        train_run(compose_experiment([*settings, f"dataset.split={split}", "runtime.device=cpu"]))
        shutil.rmtree(run.checkpoints, ignore_errors=True)
    return Predictions.load(run.predictions)


def reads(features: str) -> list[str]:
    """Return the settings of a baseline that reads features."""
    name, width = FEATURES[features]
    return [f"source.features={name}", f"model.encoder.feature_dim={width}"]


def choose_c(split: int, features: str) -> float:
    """Return the C of the pooled regression that is best on held-out training participants."""
    config = compose_experiment(["experiment=salads50/pooled", f"dataset.split={split}", *reads(features)])
    data = build_data(config)
    assert data.features is not None
    hits = np.zeros(len(CHOICES_OF_C))
    for fold in participant_folds(data.benchmark, num_folds=NUM_FOLDS, seed=split):
        part = build_feature_data(config, fold, data.features)
        targets = part.validation.segments.column("action_id")
        for index, c in enumerate(CHOICES_OF_C):
            regression = RegressionConfig(inverse_regularization=c)
            model = build_model(replace(config.model, regression=regression), num_actions=fold.taxonomy.num_actions)
            assert isinstance(model, Baseline)
            model.learn(iter_samples(part.train), fold.train)
            clips = collate(list(iter_samples(part.validation)))
            logits = model(clips["clip"], clips["mask"]).logits.numpy()
            hits[index] += top_k_accuracy(logits, targets, k=1) * len(targets)
    return CHOICES_OF_C[int(hits.argmax())]


def iter_samples(dataset: WindowDataset) -> Iterator[Sample]:
    """Yield all samples of a data set."""
    return (dataset[index] for index in range(len(dataset)))


def baselines(out: Path, split: int, features: str) -> Iterator[tuple[str, Predictions]]:
    """Yield the predictions of each baseline on a split."""
    # The class frequencies see the last minute too, so that all baselines are asked about the same instances.
    minute = ["model.name=frequency", "protocol.tau_o_s=60", "protocol.fps=1"]
    yield "frequency", trained(out, "salads50/last_action", split, 0, *minute)
    yield "Markov on the recognised past", trained(out, "salads50/last_recognised", split, 0, *reads(features))
    c = f"model.regression.inverse_regularization={choose_c(split, features)}"
    yield POOLED, trained(out, "salads50/pooled", split, 0, *reads(features), c)


def marks(row: Row, k: int) -> NDArray[np.float64]:
    """Return top-k in percent for each seed and split [seeds, splits]; a baseline has one seed."""
    seeds = sorted({seed for _, seed in row})
    table = [
        [top_k_accuracy(row[split, seed].logits, row[split, seed].targets, k=k) for split in SPLITS] for seed in seeds
    ]
    return 100 * np.array(table)


def hits(row: Row) -> NDArray[np.float64]:
    """Return the mean hit over seeds of each instance of both splits."""
    seeds = sorted({seed for _, seed in row})
    per_split = []
    for split in SPLITS:
        uids = row[split, seeds[0]].uids
        tables = [row[split, seed].aligned_to(uids) for seed in seeds]
        per_split.append(np.mean([table.logits.argmax(axis=1) == table.targets for table in tables], axis=0))
    return np.concatenate(per_split)


def _cell(values: NDArray[np.float64]) -> str:
    spread = f" +- {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def _verdict(name: str, other: str, test: PairedTest) -> str:
    interval = f"{100 * test.low:+.1f} to {100 * test.high:+.1f}"
    counts = f"better on {test.num_first_only} instances, worse on {test.num_second_only}"
    agrees = {(True, True): "different", (False, False): "not told apart"}
    excludes_zero = test.low > 0 or test.high < 0
    finding = agrees.get((test.p_value < 0.05, excludes_zero), "undecided: test and interval disagree")
    return (
        f"| {name} - {other} | {100 * test.difference:+.1f} | {interval} | {test.p_value:.2f} | {counts} | {finding} |"
    )


def findings(rows: dict[tuple[str, str], Row], against: PairedTest) -> list[str]:
    """Return in words which single model is best, and whether S-GEAR beats the AVT head."""
    single = {key: marks(row, 1).mean() for key, row in rows.items() if "+" not in key[1] or key[0] == HISTORY}
    (best, features), top1 = max(single.items(), key=lambda item: item[1])
    avt = single["AVT head", "camera"]
    beats = "beats" if against.low > 0 and against.p_value < 0.05 else "does not beat"
    interval = f"{100 * against.low:+.1f} to {100 * against.high:+.1f}"
    return [
        f"The best single model is the {best} ({features}): {top1:.1f}. The AVT head has {avt:.1f} on the camera.",
        f"S-GEAR {beats} the AVT head on the camera: {100 * against.difference:+.1f} points",
        f"(95 % interval {interval}, sign test p = {against.p_value:.2f}).",
    ]


def document(rows: dict[tuple[str, str], Row], counts: list[int], minutes: float) -> str:
    """Return the page."""
    lines = [
        "# 50 Salads",
        "",
        "Next action, tau_a = 1 s, 17 actions. Instances: every maximal run of one non-gap label that starts at least",
        f"2 s into the file: {counts[0]} on split 1, {counts[1]} on split 2. Top-1 and top-5 in percent; mean over",
        "splits 1 and 2; 5 seeds, mean +- standard deviation over seeds (baselines have no seed).",
        "",
        "| model | features | split 1 top-1 / top-5 | split 2 top-1 / top-5 | top-1 | top-5 |",
        "|---|---|---|---|---|---|",
    ]
    for (model, features), row in rows.items():
        one, five = marks(row, 1), marks(row, 5)
        cells = [f"{_cell(one[:, index])} / {_cell(five[:, index])}" for index in range(len(SPLITS))]
        lines.append(
            f"| {model} | {features} | {' | '.join(cells)} | {_cell(one.mean(axis=1))} | {_cell(five.mean(axis=1))} |"
        )
    tables = [table for key, row in rows.items() if key in MODELS for table in row.values()]
    commits = sorted({str(table.provenance["commit"]) for table in tables})
    camera = {name: hits(row) for (name, features), row in rows.items() if features == "camera"}
    hand = {name: hits(row) for (name, features), row in rows.items() if features == "accelerometer"}
    both = {name: hits(row) for (name, features), row in rows.items() if features == "camera + accelerometer"}
    pooled = camera["pooled logistic regression"]
    lines += [
        "",
        "For comparison, measured outside this code on the same instances: majority 6.9; pooled logistic regression",
        "38.6 (5 splits); an untuned 3-layer causal transformer over the last 60 s 41.1 (splits 1 and 2: 50.0, 32.1).",
        "",
        "## Is it better?",
        "",
        *findings(rows, paired_test(camera["S-GEAR"], camera["AVT head"])),
        "",
        "Differences of top-1 in points over the instances of both splits, each instance by its mean hit over seeds,",
        "with a 95 % bootstrap interval over instances and a two-sided sign test, not corrected",
        "for the number of pairs.",
        "",
        "| pair | difference | interval | p | instances | |",
        "|---|---|---|---|---|---|",
        _verdict("S-GEAR", "AVT head (camera)", paired_test(camera["S-GEAR"], camera["AVT head"])),
        _verdict("S-GEAR", "AVT head (accelerometer)", paired_test(hand["S-GEAR"], hand["AVT head"])),
        _verdict("S-GEAR", "AVT head (fused)", paired_test(both["S-GEAR"], both["AVT head"])),
        _verdict("S-GEAR", "pooled regression (camera)", paired_test(camera["S-GEAR"], pooled)),
        _verdict("AVT head", "pooled regression (camera)", paired_test(camera["AVT head"], pooled)),
        _verdict("AVT head fused", "AVT head (camera)", paired_test(both["AVT head"], camera["AVT head"])),
        "",
        "Settings were chosen on training videos only, by folds over participants; what was tried, and what did not",
        "help, is in `research/LOG.md`. AVT and S-GEAR have the same budget and settings but for S-GEAR's own.",
        f'Late fusion averages probabilities with a share of {CAMERA_SHARE} for the camera; "both of them" with equal',
        "shares.",
        "",
        "## Where it comes from",
        "",
        "- Command: `make salads50` (one run: `sgear train experiment=salads50/spatialcnn`, seed 0 of split 1)",
        f"- Seeds: {', '.join(map(str, SEEDS))}; commit of the runs: {', '.join(f'`{commit}`' for commit in commits)}",
        f"- torch {torch.__version__}, one CPU thread, {minutes:.0f} minutes",
        "- Data: 50 Salads (Stein and McKenna, UbiComp 2013), CC BY-NC-SA 4.0; Spatial-CNN features and accelerometer",
        "  files of Lea et al., Temporal Convolutional Networks (CVPR 2017); sentence embeddings of the class names",
        "  from the S-GEAR release.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/salads50"), help="folder of the runs")
    parser.add_argument("--page", type=Path, default=Path("docs/results/salads50.md"), help="page to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    # Time of earlier, stopped calls counts too.
    clock = args.out / "elapsed.json"
    began = time.monotonic() - (read_json(clock)["seconds"] if clock.is_file() else 0.0)
    language_prototypes(args.out)
    rows: dict[tuple[str, str], Row] = {}
    for split in SPLITS:
        for features in FEATURES:
            for name, predictions in baselines(args.out, split, features):
                if name != "frequency" or features == "camera":
                    rows.setdefault((name, features), {})[split, 0] = predictions
        pair = [rows[POOLED, features][split, 0] for features in FEATURES]
        pooled = late_fuse(pair, (CAMERA_SHARE, 1 - CAMERA_SHARE))
        history = trained(args.out, "salads50/history", split, 0)
        rows.setdefault((POOLED, BOTH), {})[split, 0] = pooled
        rows.setdefault((HISTORY, BOTH), {})[split, 0] = history
        # Equal shares: nothing to choose.
        rows.setdefault(("both of them, mean", BOTH), {})[split, 0] = late_fuse([history, pooled], (0.5, 0.5))
        print(f"baselines of split {split} done after {time.monotonic() - began:.0f} s", flush=True)
    total, done = len(MODELS) * len(SEEDS) * len(SPLITS), 0
    for seed in SEEDS:
        for (model, features), experiment in MODELS.items():
            for split in SPLITS:
                predictions = trained(args.out, experiment, split, seed)
                rows.setdefault((model, features), {})[split, seed] = predictions
                done += 1
                top1 = 100 * top_k_accuracy(predictions.logits, predictions.targets, k=1)
                elapsed_s = time.monotonic() - began
                write_json(clock, {"seconds": elapsed_s})
                print(
                    f"{done:2d}/{total}  {experiment} split {split} seed {seed}: top-1 {top1:.1f}, {elapsed_s:.0f} s",
                    flush=True,
                )
    for model in ("AVT head", "S-GEAR"):
        eye, hand = rows[model, "camera"], rows[model, "accelerometer"]
        shares = (CAMERA_SHARE, 1 - CAMERA_SHARE)
        rows[model, "camera + accelerometer"] = {key: late_fuse([eye[key], hand[key]], shares) for key in eye}
    counts = [len(rows["frequency", "camera"][split, 0]) for split in SPLITS]
    args.page.parent.mkdir(parents=True, exist_ok=True)
    args.page.write_text(document(rows, counts, (time.monotonic() - began) / 60), encoding="utf-8")
    print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
