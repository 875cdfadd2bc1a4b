"""What counting models learn, and the training that takes no step."""

from __future__ import annotations

import torch

from sgear.baselines.frequency import frequency_logits
from sgear.baselines.markov import transition_probs
from sgear.models.counted import CountedActions
from sgear.segments import SegmentTable
from sgear.training.config import RuntimeConfig
from sgear.training.loop import FitResult, make_accelerator
from sgear.training.run import RunDirectory

ORACLE_CAVEAT = (
    "last_action reads the ANNOTATED actions before each segment, which no model that watches a film knows: an oracle "
    "of the past, to compare with and not to submit"
)


def fit_by_counting(
    model: CountedActions, train: SegmentTable, *, runtime: RuntimeConfig, run: RunDirectory
) -> FitResult:
    """Count the training segments into a model; the log stays empty.

    Args:
        model: Receives.
        train: All training segments: the first action of a video counts, though nothing can be seen before it.
        runtime: Machine.
        run: Where the log goes.
    """
    if model.config.name == "frequency":
        table = torch.from_numpy(frequency_logits(train, 1))
    else:
        probs = torch.from_numpy(transition_probs(train, smoothing=model.config.counts.smoothing))
        # The last row is the start of a video; here no action is number 0.
        table = probs.roll(1, dims=0).log().float()
    accelerator = make_accelerator(runtime)
    model.set_counted(table)
    run.metrics.write_text("", encoding="utf-8")
    return FitResult(model=model.to(accelerator.device).eval(), accelerator=accelerator)
