"""How fast video and features come in: ratios within one run, as a table and as JSON.

    python benchmarks/data.py [--groups video loader features] [--rounds 7] [--folder FOLDER] [--out FILE]

It writes about 1 GB of random features and some films under FOLDER (default: a temporary folder).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import torch
from data_features import feature_ratios
from data_loader import loader_ratios
from data_video import video_ratios
from rich.console import Console
from rich.table import Table

GROUPS = {"video": video_ratios, "loader": loader_ratios, "features": feature_ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which every way is timed once")
    parser.add_argument("--folder", type=Path, help="keep the files there and use them again")
    parser.add_argument("--out", type=Path, help="write the JSON there, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        ratios = []
        for group in options.groups:
            ratios += GROUPS[group](folder, rounds=options.rounds)
    table = Table("", "ms", "against ms", "times faster", "rounds", "target")
    for each in ratios:
        target = f"{each.target:g} {'met' if each.is_met else 'MISSED'}" if each.target else ""
        spread = f"{each.low:.3g} to {each.high:.3g}"
        table.add_row(each.name, f"{each.fast_ms:.3g}", f"{each.slow_ms:.3g}", f"{each.ratio:.3g}", spread, target)
    Console(width=120).print(table)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    text = json.dumps({"machine": machine, "rounds": options.rounds, "ratios": [each.to_dict() for each in ratios]})
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if all(each.is_met for each in ratios) else 1)


if __name__ == "__main__":
    main()
