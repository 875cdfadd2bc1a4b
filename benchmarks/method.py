"""How long a training step of S-GEAR takes, and its peak memory, against eager GPT-2 blocks: ratios within one run.

    python benchmarks/method.py [--rounds 5] [--threads 2] [--device cpu] [--out FILE]

At the size of the EPIC-KITCHENS-100 feature recipe. Each way trains in a process of its own; the processes are asked
for a step in turns. Three ways at a time need about 15 GB. On CUDA, give the processor's bf16 peak for the MFU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from data_ratios import Ratio, compare, print_ratios
from method_network import Sizes, largest_difference
from method_optimizers import serve_optimizers
from method_worker import Way, serve
from rich.console import Console
from rich.table import Table

FLOAT32, BF16 = Way(), Way(is_bf16=True)
EAGER, EAGER_KEPT = Way(is_eager=True, keeps_memory=False), Way(is_eager=True)
BF16_FREED, BF16_COMPILED = Way(is_bf16=True, keeps_memory=False), Way(is_bf16=True, is_compiled=True)
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


@contextmanager
def started(target: Any, *arguments: object) -> Iterator[Connection]:
    """Run a function in a fresh process and talk to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments))
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.join(timeout=60)


def train_in_turns(ways: Iterable[Way], sizes: Sizes, options: argparse.Namespace) -> dict[Way, dict[str, Any]]:
    """Return what each way took; the ways train at the same time, one step each in turns."""
    context = multiprocessing.get_context("spawn")
    results: dict[Way, dict[str, Any]] = {way: {} for way in ways}
    pipes = {}
    for way in results:
        pipes[way], there = context.Pipe()
        arguments = (there, way, sizes, options.device, options.threads)
        context.Process(target=serve, args=arguments, daemon=True).start()
        there.close()

    def ask(way: Way, what: str) -> dict[str, float]:
        pipes[way].send(what)
        return pipes[way].recv()

    # The first two steps fill the optimiser's state and the allocator; they do not count.
    for round_idx in range(-2, options.rounds):
        for way, result in results.items():
            answer = ask(way, "step")
            for name, value in answer.items() if round_idx >= 0 else ():
                result.setdefault(name, []).append(value)
        print(f"round {round_idx + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
    # What follows may need more memory than a step, so the peak is asked for first.
    for way, result in results.items():
        result |= ask(way, "peak")
    for what in ("attention", "products"):
        for round_idx in range(-1, options.rounds):
            for way, result in results.items():
                answer = ask(way, what)
                if round_idx >= 0:
                    result.setdefault(what, []).append(answer[what])
    for way, result in results.items():
        result["profile"] = ask(way, "profile")
        result |= ask(way, "flops")
        pipes[way].send(None)
    return results


def product_share(shares: dict[str, float]) -> float:
    """Return the share of matrix products, those inside fused attention included."""
    return sum(share for name, share in shares.items() if name in PRODUCTS or "scaled_dot_product" in name)


def ratios_of(results: dict[Way, dict[str, Any]], against: Way) -> list[Ratio]:
    """Compare each way with one of them."""
    targets = {FLOAT32: 1.0, BF16: 3.0} if against.is_eager else {}
    slow = results[against]["step"]
    return [
        compare(f"{way.name} against {against.name}", each["step"], slow, target=targets.get(way, 0))
        for way, each in results.items()
        if way != against
    ]


def print_ways(console: Console, results: dict[Way, dict[str, Any]], peak_tflops: float) -> None:
    parts = ("step", "forward", "backward", "optimizer", "cpu", "attention", "products")
    table = Table("ms", *parts, "peak GB", "in products", "GFLOP/s", "MFU")
    for way, each in results.items():
        rate = each["flops"] / median(each["step"])
        table.add_row(
            way.name,
            *(f"{1000 * median(each[part]):.0f}" for part in parts),
            f"{each['peak_gb']:.2f}",
            f"{product_share(each['profile']):.0%}",
            f"{rate / 1e9:.0f}",
            f"{rate / peak_tflops / 1e12:.0%}" if peak_tflops else "",
        )
    console.print(table)
    top = Table("share of the time of all operations", *(way.name for way in results))
    names = {name for each in results.values() for name in list(each["profile"])[:10]}
    shares = {name: [each["profile"].get(name, 0.0) for each in results.values()] for name in names}
    for name, row in sorted(shares.items(), key=lambda item: -max(item[1])):
        top.add_row(name, *(f"{share:.1%}" for share in row))
    console.print(top)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="steps of each way that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="bf16 peak of the device, for the MFU")
    parser.add_argument("--groups", nargs="+", help="which comparisons to run; default: all")
    parser.add_argument("--out", type=Path, help="write the JSON there, too")
    options = parser.parse_args()
    groups: dict[str, tuple[Way, ...]] = {
        "default": (EAGER, FLOAT32, BF16),
        "kept": (EAGER_KEPT, FLOAT32, BF16),
        "allocator": (BF16_FREED, BF16),
        "compiled": (EAGER, BF16, BF16_COMPILED),
    }
    if options.device == "cuda":
        groups = {"cuda": (EAGER_KEPT, FLOAT32, BF16, BF16_COMPILED)}
    sizes, console = Sizes(), Console(width=200)
    difference = largest_difference(sizes)
    if difference > 1e-4:
        raise SystemExit(f"the two networks differ by {difference:.2g}, so their times mean nothing")
    written: dict[str, Any] = {"torch": torch.__version__, "processor": platform.processor(), "difference": difference}
    written |= {"threads": options.threads, "rounds": options.rounds, "groups": {}}
    for name in options.groups or [*groups, "optimizers"]:
        if name == "optimizers":
            with started(serve_optimizers, sizes, options.rounds, options.threads) as connection:
                ratios = connection.recv()
            ways = {}
        else:
            results = train_in_turns(groups[name], sizes, options)
            print_ways(console, results, options.peak_tflops)
            ratios = ratios_of(results, groups[name][0])
            ways = {
                way.name: each | {"profile": dict(list(each["profile"].items())[:15])} for way, each in results.items()
            }
        print_ratios(console, ratios)
        load = round(os.getloadavg()[0], 1)
        written["groups"][name] = {"ratios": [each.to_dict() for each in ratios], "ways": ways, "load": load}
    text = json.dumps(written)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
