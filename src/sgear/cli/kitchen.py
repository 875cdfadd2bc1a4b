"""`sgear data kitchen`: make a kitchen with a progress bar, and say what its law allows."""

from __future__ import annotations

import os
from pathlib import Path

from sgear.cli.progress import progress_bar
from sgear.cli.screen import say
from sgear.datasets import Benchmark
from sgear.kitchen import KitchenConfig, bayes_ceiling, build_kitchen, frequency_baseline


def render_kitchen(root: Path, config: KitchenConfig, *, with_videos: bool = True) -> Benchmark:
    """Make a kitchen, or reuse the same one, and print its counts and its Bayes ceiling."""
    num_processes = os.cpu_count() or 1
    if with_videos:
        with progress_bar("rendering videos") as progress:
            benchmark = build_kitchen(root, config, num_processes=num_processes, progress=progress)
    else:
        benchmark = build_kitchen(root, config, num_processes=num_processes, with_videos=False)
    ceiling = bayes_ceiling(benchmark.validation)
    floor = frequency_baseline(benchmark.train, benchmark.validation)
    say(
        f"{root}: {benchmark.train.num_videos} training videos with {len(benchmark.train)} actions, "
        f"{benchmark.validation.num_videos} validation videos with {len(benchmark.validation)}, "
        f"{benchmark.taxonomy.num_actions} classes\n"
        f"class-mean recall@5: frequency {100 * floor.class_mean_recall5:.1f} %, "
        f"Bayes ceiling {100 * ceiling.class_mean_recall5:.1f} %"
    )
    return benchmark
