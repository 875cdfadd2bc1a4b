"""The report of predictions, of this package or of other code, on a data set; nothing here needs a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sgear.datasets import Benchmark
from sgear.errors import PredictionError
from sgear.predictions import Predictions, score
from sgear.predictions.other_code import read_plain
from sgear.predictions.other_files import PLAIN, kind_of
from sgear.predictions.provenance import SKIPPED, UNCHECKED, caveats_of, skipped_of, unchecked_of
from sgear.predictions.scoring import evaluated_part


def make_report(predictions: Predictions, benchmark: Benchmark) -> dict:
    """Return the content of report.json: what was evaluated, under which protocol, and the scores.

    Args:
        predictions: Scores of the validation segments of `benchmark`, in any order.
        benchmark: The segments, their labels and subsets.

    Raises:
        PredictionError: If a segment is missing or extra, or the vocabulary or the true actions differ.
    """
    if predictions.taxonomy.digest != benchmark.taxonomy.digest:
        raise PredictionError(
            f"predictions of {predictions.taxonomy.num_actions} actions ({predictions.taxonomy.digest}), but "
            f"{benchmark.name} has {benchmark.taxonomy.num_actions} ({benchmark.taxonomy.digest})"
        )
    asked = benchmark.validation
    table = predictions.aligned_to(tuple(asked.uids))
    if not np.array_equal(table.targets, asked.column("action_id")):
        raise PredictionError(f"the true actions in the predictions are not those of {benchmark.name}")
    table, subsets = evaluated_part(table, benchmark.trained_action_mask, benchmark.subset_masks)
    skipped, caveats = skipped_of(table.provenance), caveats_of(table.protocol, [table.provenance])
    report: dict = {
        "benchmark": benchmark.name,
        "protocol": table.protocol,
        "num_asked": len(asked),
        "num_evaluated": len(table),
        "num_from_prior": table.provenance.get("num_from_prior", 0),
        "is_benchmark": not (skipped or caveats),
    }
    if skipped:
        report |= {"num_unreadable": table.provenance.get("num_unreadable", 0), SKIPPED: skipped}
    if caveats:
        report |= {"caveat": ". ".join(caveats)}
    if unchecked := unchecked_of([table.provenance]):
        report |= {UNCHECKED: unchecked}
    return report | {"scores": score(table, subsets=subsets, many_shot=benchmark.many_shot_ids)}


def read_predictions(file: Path, benchmark: Benchmark | None = None) -> Predictions:
    """Read a file of predictions of this package, or with the data set at hand, of any other code.

    Args:
        file: See `Predictions.load` and `read_plain`.
        benchmark: Data set that predictions of other code belong to.

    Raises:
        PredictionError: If there is no such file, it is damaged, or of a format that is not read.
    """
    if benchmark is None or kind_of(file) not in PLAIN:
        return Predictions.load(file)
    tables = (benchmark.train, *benchmark.tests.values(), benchmark.validation)
    targets = {
        uid: int(action) for table in tables for uid, action in zip(table.uids, table.column("action_id"), strict=True)
    }
    return read_plain(file, taxonomy=benchmark.taxonomy, targets=targets)
