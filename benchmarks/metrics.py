"""How long the EPIC-KITCHENS-100 report takes: 9,668 x 3,806 scores, three fields, overall, unseen and tail.

    python benchmarks/metrics.py [--annotations FOLDER] [--repeats 9] [--out FILE]

Two modes: verbs and nouns have scores of their own, or are summed from action probabilities. Beside `sgear` stands the
same report the straightforward way: every row sorted, every class looped over. Both must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic100
from sgear.predictions import Predictions, compare_predictions, score, score_intervals
from sgear.taxonomy import FIELDS, Field

REPOSITORY = Path(__file__).resolve().parents[1]
GOAL_S = 0.3
PROTOCOL: dict[str, float | str] = {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0}
Report = dict[str, dict[str, dict[str, float]]]


def drawn_table(benchmark: Benchmark, *, has_heads: bool, seed: int = 0) -> Predictions:
    """Return random float32 scores, raised for the true class of about a third of the samples."""
    rng = np.random.default_rng(seed)
    logits = {}
    for field in FIELDS:
        labels = benchmark.validation.column(f"{field}_id")
        drawn = rng.standard_normal((len(labels), len(benchmark.taxonomy.names(field))), dtype=np.float32)
        rows = np.flatnonzero(rng.random(len(labels)) < 0.3)
        drawn[rows, labels[rows]] += 4.0
        logits[field] = drawn
    return Predictions(
        uids=tuple(benchmark.validation.uids),
        logits=logits["action"],
        targets=benchmark.validation.column("action_id"),
        taxonomy=benchmark.taxonomy,
        protocol=PROTOCOL,
        verb_logits=logits["verb"] if has_heads else None,
        noun_logits=logits["noun"] if has_heads else None,
    )


def straightforward(table: Predictions, subsets: dict[str, dict[Field, NDArray[np.bool_]]]) -> Report:
    """Return the same numbers by sorting every row and looping over the classes of every subset."""
    probs = np.exp(table.logits - table.logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    report: Report = {}
    everything = np.ones(len(table), dtype=np.bool_)
    for field in FIELDS:
        own = table.own_scores(field)
        part_of_action = table.taxonomy.ids_of_action(field)
        if own is None:
            parts = range(len(table.taxonomy.names(field)))
            own = np.stack([probs[:, part_of_action == part].sum(axis=1) for part in parts], axis=1)
        targets = part_of_action[table.targets]
        is_found = own.argsort(axis=1)[:, ::-1][:, :5] == targets[:, None]
        for subset, masks in {"overall": dict.fromkeys(FIELDS, everything), **subsets}.items():
            found, labels = is_found[masks[field]], targets[masks[field]]
            recalls = [found[labels == label].max(axis=1).mean() for label in np.unique(labels)]
            report.setdefault(subset, {})[field] = {
                "top1": float(found[:, 0].mean()),
                "top5": float(found.max(axis=1).mean()),
                "recall5": float(np.mean(recalls)),
            }
    return report


def timed(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return median and fastest time in seconds, after one run that is not counted."""
    work()
    times_s = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - began_s)
    return {"median_s": median(times_s), "fastest_s": min(times_s)}


def largest_difference(ours: dict, theirs: Report) -> float:
    """Return the largest difference of two reports in percent points."""
    return max(
        100 * abs(ours[subset][field][name] - value)
        for subset, by_field in theirs.items()
        for field, numbers in by_field.items()
        for name, value in numbers.items()
    )


def measure(benchmark: Benchmark, *, repeats: int) -> dict:
    """Time both modes, and what is built on the same hits."""
    subsets = benchmark.subset_masks
    modes = {}
    for mode, has_heads in (("own scores", True), ("summed actions", False)):
        table = drawn_table(benchmark, has_heads=has_heads)
        result: dict = {
            "difference_percent_points": largest_difference(
                score(table, subsets=subsets), straightforward(table, subsets)
            ),
            "straightforward": timed(lambda table=table: straightforward(table, subsets), max(1, repeats // 3)),
        }
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            times = timed(lambda table=table: score(table, subsets=subsets), repeats)
            ratio = result["straightforward"]["median_s"] / times["median_s"]
            result[f"{num_threads} threads"] = times | {"times_faster": ratio}
        modes[mode] = result
    table = drawn_table(benchmark, has_heads=True)
    other = drawn_table(benchmark, has_heads=True, seed=1)
    return {
        "modes": modes,
        "intervals of all scores, 2000 resamples": timed(lambda: score_intervals(table), 1),
        "paired tests of all scores, 2000 resamples": timed(lambda: compare_predictions(table, other), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("SGEAR_DATA", REPOSITORY.parent / "shared" / "data"))
    parser.add_argument("--annotations", type=Path, default=data / "epic-kitchens-100-annotations")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, help="file for the figures as JSON; default: printed")
    args = parser.parse_args()
    benchmark = load_epic100(args.annotations)
    shape = f"{len(benchmark.validation):,} x {benchmark.taxonomy.num_actions:,} float32"
    load = os.getloadavg()[0]
    figures = {
        "table": shape,
        "goal_s": GOAL_S,
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine(), "load": load},
        "versions": {"numpy": np.__version__, "torch": torch.__version__, "python": platform.python_version()},
        **measure(benchmark, repeats=args.repeats),
    }
    text = json.dumps(figures, indent=1)
    if args.out is None:
        print(text)
    else:
        args.out.write_text(text + "\n", encoding="utf-8")
    print(f"\n{shape}, {args.repeats} runs, {os.cpu_count()} cores, load {load:.1f} at the start\n")
    print(f"{'mode':16} {'who':16} {'median':>9} {'fastest':>9} {'faster':>8}")
    for mode, result in figures["modes"].items():
        for name in ("straightforward", "1 threads", "2 threads"):
            times = result[name]
            faster = f"{times['times_faster']:.1f} x" if "times_faster" in times else ""
            who = name if name == "straightforward" else f"sgear, {name}"
            row = f"{1e3 * times['median_s']:6.0f} ms {1e3 * times['fastest_s']:6.0f} ms {faster:>8}"
            print(f"{mode:16} {who:16} {row}")
        print(f"{'':16} largest difference {result['difference_percent_points']:.1e} percent points")
    for name in list(figures)[-2:]:
        print(f"{name}: {figures[name]['median_s']:.1f} s")


if __name__ == "__main__":
    main()
