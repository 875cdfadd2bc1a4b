"""How fast video and features come in: ratios within one run, as a table and as JSON.

    python benchmarks/data.py [--groups video loader features] [--rounds 7] [--clips 100] [--folder FOLDER] [--out FILE]

It writes about 1 GB of random features and some videos under FOLDER (default: a temporary folder). `--smoke` runs
everything once at the smallest size, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from data_features import feature_ratios
from data_loader import loader_ratios
from data_ratios import SMOKE, Sizes, print_ratios
from data_video import video_ratios
from rich.console import Console

GROUPS = {"video": video_ratios, "loader": loader_ratios, "features": feature_ratios}


def processor_name() -> str:
    """Return the model of the processor."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_machine() -> dict[str, object]:
    """Return what the times depend on, beside the code."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which every way is timed once")
    parser.add_argument("--clips", type=int, default=Sizes().num_clips, help="clips that the loader feeds")
    parser.add_argument("--smoke", action="store_true", help="one round of almost nothing; its numbers mean nothing")
    parser.add_argument("--folder", type=Path, help="keep the files there and use them again")
    parser.add_argument("--out", type=Path, help="write the JSON there, too")
    options = parser.parse_args()
    sizes, rounds = replace(Sizes(), num_clips=options.clips), options.rounds
    if options.smoke:
        sizes, rounds = SMOKE, 1
    loads = [round(os.getloadavg()[0], 2)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)) / ("smoke" if options.smoke else "full")
        folder.mkdir(parents=True, exist_ok=True)
        ratios = []
        for group in options.groups:
            measured = GROUPS[group](folder, rounds=rounds, sizes=sizes)
            loads.append(round(os.getloadavg()[0], 2))
            # As soon as it is measured: all groups take half an hour.
            print_ratios(Console(width=120), measured)
            ratios += measured
    told = {
        "machine": describe_machine() | {"load_before_and_after_each_group": loads},
        "rounds": rounds,
        "sizes": asdict(sizes),
        "is_smoke": options.smoke,
        "ratios": [each.to_dict() for each in ratios],
    }
    text = json.dumps(told)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if options.smoke or all(each.is_met for each in ratios) else 1)


if __name__ == "__main__":
    main()
