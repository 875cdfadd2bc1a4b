"""What every loader returns: segments, vocabulary, and the subsets that a benchmark reports on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set with its official split and subsets.

    Args:
        name: Short name, e.g. `epic100`.
        taxonomy: Verbs, nouns and actions.
        train: Training segments.
        validation: Validation (or test) segments with labels.
        unseen_participants: Participants of `validation` that never occur in training, as the benchmark lists them.
        tail_verb_ids: Verbs the benchmark calls rare.
        tail_noun_ids: Nouns the benchmark calls rare.
        unscored: Segments that are seen as past but never asked for, e.g. those too close to the start of a video.
    """

    name: str
    taxonomy: Taxonomy
    train: SegmentTable
    validation: SegmentTable
    unseen_participants: frozenset[str] = field(default_factory=frozenset)
    tail_verb_ids: frozenset[int] = field(default_factory=frozenset)
    tail_noun_ids: frozenset[int] = field(default_factory=frozenset)
    unscored: SegmentTable | None = None

    @property
    def timeline(self) -> SegmentTable:
        """All segments of all videos: what happens when, for the labels of observed steps."""
        tables = [self.train, self.validation, *([self.unscored] if self.unscored is not None else [])]
        frame = pl.concat([table.frame for table in tables])
        return SegmentTable(frame, self.taxonomy, origin=f"{self.name} timeline")

    @property
    def subset_masks(self) -> dict[str, NDArray[np.bool_]]:
        """Which validation segments belong to `unseen` and `tail` [M]; a subset without segments is left out."""
        masks = {
            "unseen": np.isin(self.validation.column("participant_id"), sorted(self.unseen_participants)),
            "tail": self.tail_action_mask[self.validation.column("action_id")],
        }
        return {name: mask for name, mask in masks.items() if mask.any()}

    @property
    def tail_action_mask(self) -> NDArray[np.bool_]:
        """Which actions are rare: verb or noun in its tail list, [A]."""
        verb_is_tail = np.isin(self.taxonomy.verb_of_action, sorted(self.tail_verb_ids))
        noun_is_tail = np.isin(self.taxonomy.noun_of_action, sorted(self.tail_noun_ids))
        return verb_is_tail | noun_is_tail
