"""What all baselines have in common: fit on the samples of a model, and scores in the same file format."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sgear.baselines.frequency import frequency_logits
from sgear.data.dataset import AnticipationDataset
from sgear.errors import ConfigError
from sgear.predictions import Predictions
from sgear.segments import SegmentTable


@runtime_checkable
class Baseline(Protocol):
    """Something that is fitted to training samples and scores others."""

    @property
    def name(self) -> str:
        """Name of the row in a table."""
        ...

    def fit(self, train: AnticipationDataset, all_train: SegmentTable | None = None) -> Baseline:
        """Learn from the training samples; what needs no sample is counted in the whole training split."""
        ...

    def logits(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        """Return log probabilities of the next action of each sample [M A]."""
        ...


def predict_baseline(
    baseline: Baseline,
    *,
    train: AnticipationDataset,
    seen: AnticipationDataset,
    blind: SegmentTable,
    all_train: SegmentTable,
    split: str = "validation",
) -> Predictions:
    """Fit a baseline and score every segment that a model would be asked about, in order of uid.

    Args:
        baseline: Not fitted yet.
        train: Training samples.
        seen: Samples asked for that show something.
        blind: Segments asked for that show nothing: they get the class prior, as with a model.
        all_train: The whole training split: its frequencies are that prior, and baselines that count, count it.
        split: Name of the split asked for.

    Raises:
        ConfigError: If the samples go on at clips that cannot be read; baselines need every clip.
    """
    if "skip" in (train.on_error, seen.on_error):
        raise ConfigError("baselines are fitted to every clip and skip none; set source.on_error=stop")
    logits = np.concatenate([baseline.fit(train, all_train).logits(seen), frequency_logits(all_train, len(blind))])
    predictions = Predictions(
        uids=(*seen.segments.uids, *blind.uids),
        logits=logits,
        targets=np.concatenate([seen.segments.column("action_id"), blind.column("action_id")]),
        taxonomy=seen.segments.taxonomy,
        protocol=seen.protocol.to_dict(),
        provenance={"model": baseline.name, "split": split, "num_from_prior": len(blind)},
    )
    return predictions.take(np.argsort(np.array(predictions.uids), kind="stable"))
