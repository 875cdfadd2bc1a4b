"""What every loader returns: segments, vocabulary, and the subsets that a benchmark reports on; and folds of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.segments import SegmentTable
from sgear.taxonomy import FIELDS, Field, Taxonomy


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """How a data set writes the names of its classes, for the words that a sentence encoder reads.

    Args:
        head_first: `a:b` means "b a"; otherwise it means "a b".
        drops_phases: A last word `prep`, `core` or `post` is the phase of an action and not a part of its name.
    """

    head_first: bool = False
    drops_phases: bool = False


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
        many_shot_verb_ids: Verbs the benchmark calls frequent (EPIC-KITCHENS-55).
        many_shot_noun_ids: Nouns the benchmark calls frequent (EPIC-KITCHENS-55).
        tests: Test splits by name, e.g. `test`, or `seen` and `unseen`; without labels where they are not published.
        headline: The metric by which the benchmark ranks models; as the next two from its `DatasetSpec`.
        usual_tau_a_s: Anticipation time in seconds at which numbers are usually given.
        text_rules: How the names of its classes are written.
        unscored: Segments that are seen as past but never asked for, e.g. those too close to the start of a video.
    """

    name: str
    taxonomy: Taxonomy
    train: SegmentTable
    validation: SegmentTable
    unseen_participants: frozenset[str] = field(default_factory=frozenset)
    tail_verb_ids: frozenset[int] = field(default_factory=frozenset)
    tail_noun_ids: frozenset[int] = field(default_factory=frozenset)
    many_shot_verb_ids: frozenset[int] = field(default_factory=frozenset)
    many_shot_noun_ids: frozenset[int] = field(default_factory=frozenset)
    tests: dict[str, SegmentTable] = field(default_factory=dict)
    headline: str = "recall5"
    usual_tau_a_s: float = 1.0
    text_rules: TextRules = TextRules()
    unscored: SegmentTable | None = None

    @property
    def timeline(self) -> SegmentTable:
        """All segments of all videos: what happens when. Training may not see it, see `training_timeline`."""
        tables = [self.train, self.validation, *([self.unscored] if self.unscored is not None else [])]
        frame = pl.concat([table.frame for table in tables])
        return SegmentTable(frame, self.taxonomy, origin=f"{self.name} timeline")

    @property
    def training_timeline(self) -> SegmentTable:
        """The segments whose labels training may see: those of `train`, and unscored ones of training videos.

        Splits may cut inside videos (EGTEA Gaze+, own data): the past of a training clip then holds held-out segments.
        """
        frames = [self.train.frame]
        if self.unscored is not None:
            held_out = [video_id for table in (self.validation, *self.tests.values()) for video_id in table.video_ids]
            is_of_training = pl.col("video_id").is_in(self.train.video_ids) & ~pl.col("video_id").is_in(held_out)
            frames.append(self.unscored.frame.filter(is_of_training))
        return SegmentTable(pl.concat(frames), self.taxonomy, origin=f"{self.name} training timeline")

    @property
    def subset_masks(self) -> dict[str, dict[Field, NDArray[np.bool_]]]:
        """Which validation segments belong to `unseen` and `tail`, for each field [M].

        A segment is in the tail of the verbs if its verb is rare, in the tail of the nouns if its noun is, and in the
        tail of the actions if either is. A subset without any segment is left out.
        """
        unseen = np.isin(self.validation.column("participant_id"), sorted(self.unseen_participants))
        masks: dict[str, dict[Field, NDArray[np.bool_]]] = {
            "unseen": dict.fromkeys(FIELDS, unseen),
            "tail": {
                "verb": np.isin(self.validation.column("verb_id"), sorted(self.tail_verb_ids)),
                "noun": np.isin(self.validation.column("noun_id"), sorted(self.tail_noun_ids)),
                "action": self.tail_action_mask[self.validation.column("action_id")],
            },
        }
        return {name: by_field for name, by_field in masks.items() if by_field["action"].any()}

    @property
    def tail_action_mask(self) -> NDArray[np.bool_]:
        """Which actions are rare: verb or noun in its tail list, [A]."""
        return self._verb_or_noun_in(self.tail_verb_ids, self.tail_noun_ids)

    @property
    def many_shot_ids(self) -> dict[Field, NDArray[np.int64]]:
        """Frequent classes of each field; an action is frequent if its verb or its noun is. Empty without lists."""
        if not (self.many_shot_verb_ids or self.many_shot_noun_ids):
            return {}
        actions = self._verb_or_noun_in(self.many_shot_verb_ids, self.many_shot_noun_ids)
        return {
            "verb": np.array(sorted(self.many_shot_verb_ids)),
            "noun": np.array(sorted(self.many_shot_noun_ids)),
            "action": np.flatnonzero(actions),
        }

    @property
    def trained_action_mask(self) -> NDArray[np.bool_]:
        """Which actions occur in the training segments, [A]."""
        return self.train.action_counts() > 0

    def _verb_or_noun_in(self, verb_ids: frozenset[int], noun_ids: frozenset[int]) -> NDArray[np.bool_]:
        has_verb = np.isin(self.taxonomy.verb_of_action, sorted(verb_ids))
        return has_verb | np.isin(self.taxonomy.noun_of_action, sorted(noun_ids))


def participant_folds(benchmark: Benchmark, *, num_folds: int, seed: int = 0) -> list[Benchmark]:
    """Split the training set by participant: settings are chosen on people the model has not seen, never on test data.

    The validation set of the given benchmark is in none of them.

    Args:
        benchmark: Where the training set comes from.
        num_folds: Number of folds, at least 2.
        seed: Seed of the order of participants.

    Raises:
        ValueError: If there are fewer participants than folds, or fewer than two folds.
    """
    participants = np.unique(benchmark.train.column("participant_id").astype(str))
    if not 2 <= num_folds <= len(participants):
        raise ValueError(f"num_folds must be in [2, {len(participants)}] (participants), got {num_folds}")
    order = np.random.default_rng(seed).permutation(participants)
    unscored = benchmark.unscored
    if unscored is not None:
        # Early segments of training videos stay as past; those of the test videos go with their videos.
        unscored = unscored.filter(pl.col("video_id").is_in(benchmark.train.video_ids))
    folds = []
    for index in range(num_folds):
        is_held_out = pl.col("participant_id").is_in(order[index::num_folds].tolist())
        folds.append(
            replace(
                benchmark,
                name=f"{benchmark.name}-fold{index}",
                train=benchmark.train.filter(~is_held_out),
                validation=benchmark.train.filter(is_held_out),
                unscored=unscored,
            )
        )
    return folds
