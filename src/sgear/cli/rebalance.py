"""`sgear rebalance`: scores that fit class means, adjusted as far as held-out training people say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.cli.predictions import caveats, labels, load_predictions
from sgear.cli.terminal import open_screen, plain_table, say, warn
from sgear.errors import ConfigError
from sgear.experiment.build import load_benchmark
from sgear.experiment.compose import load_run_config
from sgear.files import require_writable
from sgear.metrics import metrics
from sgear.predictions import Predictions, score
from sgear.predictions.held_out import rebalance
from sgear.taxonomy import FIELDS
from sgear.training.run import RunDirectory


def run_rebalance(run: Path, held_out: Path, out: Path, split: str, metric: str) -> None:
    """Adjust the predictions of a run, write them, and print both numbers.

    Args:
        run: Run directory whose predictions are adjusted.
        held_out: Run directory of the same model with `dataset.num_folds`: its predictions for people that it was not
            trained on choose the adjustment.
        out: File to write, `.safetensors`.
        split: Split of `run`.
        metric: What is maximized.

    Raises:
        SgearError: If the runs do not belong together, or choosing on them would be choosing on what is reported.
    """
    if metric not in metrics():
        raise ConfigError(f"--metric {metric}: choose one of {', '.join(metrics())}")
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out}: predictions are written to a name that ends in .safetensors")
    require_writable(out)
    before, fold = load_predictions(run, split), load_predictions(held_out)
    if not load_run_config(RunDirectory(held_out).config).dataset.num_folds:
        raise ConfigError(
            f"--chosen-on {held_out}: this run validates on the official split. Train the same recipe with "
            "dataset.num_folds=5 dataset.fold=0, which holds training people out"
        )
    after, chosen = rebalance(before, _counts(run), fold, _counts(held_out), metric=metric)
    after.save(out)
    if before.is_labelled:
        _print(before, after, labels([run])[0])
    for field in FIELDS:
        found = chosen[field]
        moved = f", never-seen classes {found.offset:+g}" if found.offset else ""
        say(
            f"{field}: tau {found.tau:g}, floor {found.floor:g}{moved}; {metric} on {len(fold)} held-out segments "
            f"{100 * found.score:.1f}",
            style="dim",
        )
    warn(caveats(after))
    say(f"wrote {out}")


def _counts(run: Path) -> NDArray[np.int64]:
    """Return the training samples of each action of a run [A]."""
    return load_benchmark(load_run_config(RunDirectory(run).config).dataset).train.action_counts()


def _print(before: Predictions, after: Predictions, name: str) -> None:
    shown = metrics(brief=True)
    titles = [metric.title for metric in shown.values()]
    table = plain_table(f"{name}, {len(after)} segments", left=("", " "), right=titles)
    tables = {"as trained": score(before)["overall"], "adjusted": score(after)["overall"]}
    for field in FIELDS:
        for label, values in tables.items():
            table.add_row(field, label, *(f"{100 * values[field][key]:.1f}" for key in shown))
    open_screen().print(table)
