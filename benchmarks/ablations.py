"""The ablation tables: each variant of S-GEAR with 3 seeds, beside the paper's rows; writes docs/results/ablations.md.

    python benchmarks/ablations.py --data salads50        (84 runs of 40 to 100 s on one core)
    python benchmarks/ablations.py --data kitchen         (a kitchen, one recognition run, 42 runs of 2 min on one core)
    python benchmarks/ablations.py --write                (the page, from what is finished)

A finished run is not trained again. Seeds vary the anticipation stage; the kitchen's recognition run is one for all.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from salads50 import language_prototypes as salads_language

from sgear.cli.data_sets import render_kitchen
from sgear.experiment import compose_experiment
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.kitchen import KitchenConfig
from sgear.metrics import class_mean_recall, paired_test, top_k_accuracy
from sgear.metrics.statistics import PairedTest
from sgear.predictions import Predictions
from sgear.prototypes import encode_taxonomy
from sgear.training.run import RunDirectory, read_json

SEEDS = (0, 1, 2)
PAGE = Path("docs/results/ablations.md")
PAPER = (
    ("ViT and causal transformer", "15.2"),
    ("+ TCA", "16.7"),
    ("+ semantic prototypes", "17.8"),
    ("+ semantic prototypes, prototype attention", "18.0"),
    ("+ semantic prototypes, prototype attention, TCA: S-GEAR", "18.3"),
    ("S-GEAR, language prototypes used directly", "17.4"),
    ("S-GEAR, a tenth of the prototypes", "17.8"),
)


@dataclass(frozen=True)
class Row:
    """What a variant is on one data set: its experiment, and the paper's number for the same change."""

    experiment: str
    paper: str = "-"


@dataclass(frozen=True)
class Variant:
    """A row of the tables; None where a data set has none."""

    name: str
    kitchen: Row | None
    salads50: Row | None


def ablation(name: str, *, kitchen: str = "-", salads50: str = "-") -> dict[str, Row]:
    """Return the experiments of one name on both data sets."""
    return {
        "kitchen": Row(f"kitchen/ablation/{name}", kitchen),
        "salads50": Row(f"salads50/ablation/{name}", salads50),
    }


# S-GEAR on 50 Salads has no TCA, so the paper's rows there are those without it.
VARIANTS = (
    Variant("AVT (no prototypes at all)", Row("kitchen/avt", "15.2"), Row("salads50/spatialcnn_avt", "15.2")),
    Variant("S-GEAR, as configured", Row("kitchen/sgear", "18.3"), Row("salads50/spatialcnn", "18.0")),
    Variant("no semantic loss", **ablation("no_semantic")),
    Variant("no TCA", Row("kitchen/ablation/no_tca", "18.0"), None),
    Variant("TCA cumulative", None, Row("salads50/ablation/tca", "18.3")),
    Variant("TCA cumulative, raw sum", Row("kitchen/ablation/tca_raw"), None),
    Variant("TCA causal", **ablation("tca_causal")),
    Variant("TCA decay", **ablation("tca_decay")),
    Variant("no prototype attention", **ablation("no_pa", salads50="17.8")),
    Variant("a tenth of the prototypes (4 of 44; 2 of 17)", **ablation("tenth", kitchen="17.8")),
    Variant("language prototypes used directly", **ablation("language_direct", kitchen="17.4")),
    Variant("released prototype attention, corrected", **ablation("released_pa")),
    Variant("all released forms, corrected", **ablation("released")),
    Variant("temperature fixed at 1", **ablation("fixed_temperature")),
    Variant("temperature fixed at its start value", **ablation("fixed_start")),
)
FULL = VARIANTS[1]


def trained(out: Path, experiment: str, name: str, settings: list[str]) -> RunDirectory:
    """Train one run, or take the finished one."""
    run = RunDirectory(out / name)
    if not run.report.is_file():
        shutil.rmtree(run.path, ignore_errors=True)
        start_s = time.monotonic()
        train_run(
            compose_experiment(
                [f"experiment={experiment}", f"name={name}", f"output_root={out}", "runtime.device=cpu", *settings]
            )
        )
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        top1 = read_json(run.report)["scores"]["overall"]["action"]["top1"]
        print(f"{name}: {time.monotonic() - start_s:.0f} s, top-1 {100 * top1:.1f}", flush=True)
    return run


def run_name(experiment: str, split: int, seed: int) -> str:
    """Return the folder of a run."""
    return f"{experiment.replace('/', '-')}-split{split}-seed{seed}"


def train_salads50(out: Path, seeds: Sequence[int]) -> None:
    """Train all variants on splits 1 and 2 of 50 Salads."""
    salads_language(out)
    for seed in seeds:
        for variant in VARIANTS:
            for split in (1, 2) if variant.salads50 else ():
                assert variant.salads50 is not None
                experiment, settings = variant.salads50.experiment, [f"seed={seed}", f"dataset.split={split}"]
                trained(out, experiment, run_name(experiment, split, seed), settings)


def train_kitchen(out: Path, seeds: Sequence[int]) -> None:
    """Render a kitchen, train recognition once, and all variants on it."""
    root = out / "kitchen"
    render_kitchen(root, KitchenConfig(seed=0))
    language, visual = out / "kitchen-language.safetensors", out / "kitchen-visual.safetensors"
    if not language.is_file():
        encode_taxonomy(load_benchmark(DatasetConfig(name="kitchen", root=str(root))).taxonomy).save(language)
    recognition = trained(out, "kitchen/recognition", "kitchen-recognition", [f"dataset.root={root}"])
    if not visual.is_file():
        visual_prototypes(recognition.path, visual)
    for seed in seeds:
        for variant in VARIANTS:
            if variant.kitchen is not None:
                experiment, settings = variant.kitchen.experiment, [f"seed={seed}", f"dataset.root={root}"]
                trained(out, experiment, run_name(experiment, 1, seed), settings)


def finished(out: Path, row: Row | None, splits: tuple[int, ...]) -> list[list[Predictions]] | None:
    """Return the predictions [seed][split] of a variant; None where a run is missing."""
    if row is None:
        return None
    runs = [[RunDirectory(out / run_name(row.experiment, split, seed)) for split in splits] for seed in SEEDS]
    if not all(run.report.is_file() for row in runs for run in row):
        return None
    return [[Predictions.load(run.predictions) for run in row] for row in runs]


def top1(table: Predictions) -> float:
    """Return top-1 in percent."""
    return 100 * top_k_accuracy(table.logits, table.targets, k=1)


def recall5(table: Predictions) -> float:
    """Return class-mean recall@5 in percent."""
    return 100 * class_mean_recall(table.logits, table.targets)


def spread(tables: list[list[Predictions]], metric: Callable[[Predictions], float]) -> str:
    """Return mean and standard deviation over seeds of the mean over splits."""
    marks = np.array([np.mean([metric(table) for table in row]) for row in tables])
    return f"{marks.mean():.1f} +- {marks.std(ddof=1):.1f}"


def mean_hits(tables: list[list[Predictions]], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the mean hit over seeds and the target of each instance of all splits."""
    hits, targets = [], []
    for per_split in zip(*tables, strict=True):
        first = per_split[0]
        aligned = [table.aligned_to(first.uids) for table in per_split]
        best = [np.argsort(-table.logits, axis=1, kind="stable")[:, :k] for table in aligned]
        hits.append(np.mean([(rows == first.targets[:, None]).any(axis=1) for rows in best], axis=0))
        targets.append(first.targets)
    return np.concatenate(hits), np.concatenate(targets)


def difference(test: PairedTest) -> str:
    """Return a difference with its interval and p-value."""
    p_value = f"p {test.p_value:.2f}" if test.p_value >= 0.01 else "p < 0.01"
    return f"{100 * test.difference:+.1f} ({100 * test.low:+.1f} .. {100 * test.high:+.1f}), {p_value}"


def table(out: Path, data: str) -> list[str]:
    """Return the lines of one table."""
    splits = (1, 2) if data == "salads50" else (1,)
    of_variant = {variant: finished(out, getattr(variant, data), splits) for variant in VARIANTS}
    full = of_variant[FULL]
    if full is None:
        return [f"Not measured: no finished runs of {getattr(FULL, data).experiment}.", ""]
    by_top1 = data == "salads50"
    lines = [
        f"| variant | top-1 | recall@5 | {'top-1' if by_top1 else 'recall@5'} against S-GEAR | paper, EK100 |",
        "|---|---|---|---|---|",
    ]
    for variant, tables in of_variant.items():
        if tables is None:
            continue
        change = ""
        if variant is not FULL:
            hits, targets = mean_hits(tables, 1 if by_top1 else 5)
            full_hits, _ = mean_hits(full, 1 if by_top1 else 5)
            test = paired_test(hits, full_hits) if by_top1 else paired_test(hits, full_hits, targets=targets)
            change = difference(test)
        paper = getattr(variant, data).paper
        lines.append(f"| {variant.name} | {spread(tables, top1)} | {spread(tables, recall5)} | {change} | {paper} |")
    return [*lines, ""]


def commits(out: Path) -> str:
    """Return the commits of all runs, the recognition run included; one of a changed tree ends with `-dirty`."""
    found = {str(read_json(path)["commit"]) for path in sorted(out.glob("*/run.json"))}
    return ", ".join(f"`{commit}`" for commit in sorted(found))


def write(out: Path) -> None:
    """Write the page."""
    text = [
        "# Ablations",
        "",
        "Mean and standard deviation over 3 seeds; recall@5 is the class-mean. Differences against S-GEAR as",
        "configured, over instances with the hits averaged over seeds, with a 95 % interval and the p-value of a",
        "paired test (sign test for top-1, permutation for recall). No correction for the number of rows: with ten",
        "rows, one p below 0.1 is expected by chance. Intervals are over instances and do not hold the spread of",
        "seeds; those of class-mean recall are too narrow where classes have few instances, so the p-value is the",
        "better guide. The last column is the paper's class-mean recall@5 on EPIC-KITCHENS-100 for the same parts,",
        "where it has such a row; only the order of rows can be compared.",
        "",
        "## 50 Salads, stored features, splits 1 and 2, tau_a = 1 s",
        "",
        *table(out, "salads50"),
        "## Kitchen (seed 0), end to end from pixels, tau_a = 1 s",
        "",
        *table(out, "kitchen"),
        "## The paper's own rows: EPIC-KITCHENS-100 validation, class-mean recall@5",
        "",
        "| variant | recall@5 |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in PAPER),
        "",
        "Commands: `python benchmarks/ablations.py --data salads50`, `--data kitchen`, `--write`; one row:",
        "`sgear train experiment=salads50/ablation/no_semantic`. "
        f"Commit of the runs: {commits(out)}; torch {torch.__version__}, one thread each.",
        "",
        "What follows from it for the defaults: [decision 004](../decisions/004-defaults-after-ablations.md).",
        "",
    ]
    PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of the runs")
    parser.add_argument("--data", choices=["salads50", "kitchen"], help="what to train")
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS, help="for several processes")
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.data == "salads50":
        train_salads50(arguments.out, arguments.seeds)
    elif arguments.data == "kitchen":
        train_kitchen(arguments.out, arguments.seeds)
    if arguments.write:
        write(arguments.out)


if __name__ == "__main__":
    main()
