"""What the heads of the kitchen's recipes and the README expect, over seeds: every stage is trained anew for each seed.

    python benchmarks/kitchen.py --recipes smoke/kitchen            (10 s a seed on one core)
    python benchmarks/kitchen.py                                    (a kitchen, then 6 minutes a seed on one core)

A finished run is not trained again, so seeds can be added, or shared among processes. The kitchen is that of seed 0.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from sgear.cli.data_sets import render_kitchen
from sgear.experiment import compose_experiment
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.kitchen import KitchenConfig
from sgear.prototypes import encode_taxonomy
from sgear.training.run import RunDirectory, read_json

RECIPES = ("smoke/kitchen", "kitchen/recognition", "kitchen/avt", "kitchen/sgear")
METRICS = ("top1", "top5", "recall5")


def trained(recipe: str, kitchen: Path, out: Path, seed: int) -> list[float]:
    """Return top-1, top-5 and class-mean recall@5 in percent of a run, after training it where that is not done."""
    config = compose_experiment(
        [f"experiment={recipe}", f"dataset.root={kitchen}", f"output_root={out}", f"seed={seed}", "runtime.device=cpu"]
    )
    run = RunDirectory(out / config.name)
    if not run.report.is_file():
        shutil.rmtree(run.path, ignore_errors=True)
        train_run(config)
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        if recipe == "kitchen/recognition":
            visual_prototypes(run.path, out / "kitchen-visual.safetensors")
    scores = read_json(run.report)["scores"]["overall"]["action"]
    return [100 * scores[metric] for metric in METRICS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/kitchen-seeds"), help="folder of kitchen and runs")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES, help="in the order of their stages")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with_videos = set(arguments.recipes) != {"smoke/kitchen"}
    kitchen = arguments.out / ("kitchen" if with_videos else "kitchen-features")
    render_kitchen(kitchen, KitchenConfig(seed=0), with_videos=with_videos)
    taxonomy = load_benchmark(DatasetConfig(name="kitchen", root=str(kitchen))).taxonomy
    for seed in arguments.seeds:
        language = arguments.out / f"seed-{seed}" / "kitchen-language.safetensors"
        if not language.is_file():
            encode_taxonomy(taxonomy).save(language)
    print("| recipe | top-1 | top-5 | class-mean recall@5 | seeds |\n|---|---|---|---|---|")
    for recipe in arguments.recipes:
        marks = np.array([trained(recipe, kitchen, arguments.out / f"seed-{seed}", seed) for seed in arguments.seeds])
        spread = marks.std(axis=0, ddof=1) if len(marks) > 1 else np.full(len(METRICS), np.nan)
        cells = [f"{mean:.1f} +- {sd:.1f}" for mean, sd in zip(marks.mean(axis=0), spread, strict=True)]
        print(f"| {recipe} | {' | '.join(cells)} | {len(marks)} |", flush=True)


if __name__ == "__main__":
    main()
