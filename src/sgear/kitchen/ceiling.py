"""The exact Bayes ceiling of a kitchen table, and the frequency baseline: what is possible, and what is free.

The ceiling predicts each segment from the true actions before it in its film, by the law that made them. It is the
best prediction on average; on a finite table a lucky model may still pass it by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.errors import AnnotationError
from sgear.kitchen.law import kitchen_law
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy


@dataclass(frozen=True)
class KitchenScores:
    """Realised results of a predictor on a table, each in [0, 1]."""

    top1: float
    top5: float
    class_mean_recall5: float


def bayes_scores(segments: SegmentTable) -> NDArray[np.float64]:
    """Return the posterior of each segment's action given all actions before it in its film.

    Args:
        segments: Whole kitchen films: every action of a film from its first one on.

    Returns:
        Array [M, A] in the order of the table and the ids of its taxonomy. Rows sum to 1 less what the law gives to
        actions that the taxonomy lacks.

    Raises:
        AnnotationError: If an action or a film cannot come from the kitchen's law.
    """
    law = kitchen_law()
    law_ids = _law_ids(segments.taxonomy)
    actions = segments.column("action_id")
    if (actions < 0).any():
        raise AnnotationError(f"{segments.origin}: the Bayes ceiling needs a class for every segment; some have none")
    video_ids, starts_s = segments.column("video_id"), segments.column("start_s")
    posteriors = np.empty((len(segments), len(law_ids)))
    for video_id in segments.video_ids:
        rows = np.flatnonzero(video_ids == video_id)
        rows = rows[np.argsort(starts_s[rows], kind="stable")]
        try:
            film = law.next_action_posteriors(law_ids[actions[rows]])[:-1]
        except ValueError as err:
            raise AnnotationError(
                f"{segments.origin}: film {video_id}: {err}. Give whole films, from their first action on, "
                "of this version of the kitchen."
            ) from err
        posteriors[rows] = film[:, law_ids]
    return posteriors


def recall_ranking(posteriors: NDArray[np.float64], class_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Turn posteriors into the ranking that is best for class-mean recall at any k.

    Class-mean recall gives a hit on a segment of class c the value 1 / n_c, with n_c the segments of that class. The
    expected value of guessing c for segment i is thus p_i(c) / n_c, and a guess list is best when it holds the k
    largest of these. A class that is absent from the table has no recall, so guessing it is worth nothing. Using
    the table's own counts makes this an upper bound: a model does not know them.

    Args:
        posteriors: Probabilities, [M, A].
        class_counts: Segments of each class in the evaluated table, [A].

    Returns:
        Ranking scores, [M, A]; higher is better.
    """
    return np.where(class_counts > 0, posteriors / np.maximum(class_counts, 1), 0.0)


def bayes_ceiling(segments: SegmentTable) -> KitchenScores:
    """Return what the Bayes predictor reaches on a table of whole kitchen films.

    Accuracy uses the posterior, class-mean recall@5 the ranking of `recall_ranking`.

    Raises:
        AnnotationError: If an action or a film cannot come from the kitchen's law.
    """
    posteriors = bayes_scores(segments)
    return _realised(posteriors, recall_ranking(posteriors, segments.action_counts()), segments)


def frequency_baseline(train: SegmentTable, segments: SegmentTable) -> KitchenScores:
    """Return what guessing the commonest training actions reaches, the same guesses for every segment.

    Raises:
        ValueError: If the tables have different taxonomies.
    """
    if train.taxonomy.digest != segments.taxonomy.digest:
        raise ValueError(f"{train.origin} and {segments.origin} have different taxonomies")
    ranking = np.tile(train.action_counts().astype(np.float64), (len(segments), 1))
    return _realised(ranking, ranking, segments)


def _law_ids(taxonomy: Taxonomy) -> NDArray[np.int64]:
    known = kitchen_law().action_ids
    names = [(taxonomy.verbs[verb], taxonomy.nouns[noun]) for verb, noun in taxonomy.action_pairs]
    unknown = [" ".join(name) for name in names if name not in known]
    if unknown:
        raise AnnotationError(f"the Bayes ceiling is known for the kitchen's own actions only, not for {unknown[:5]}")
    return np.array([known[name] for name in names], dtype=np.int64)


def _realised(
    ranking: NDArray[np.float64], recall_scores: NDArray[np.float64], segments: SegmentTable
) -> KitchenScores:
    targets = segments.column("action_id")
    counts = segments.action_counts()
    is_recalled = _hits(recall_scores, targets, 5)
    recalled = np.bincount(targets[is_recalled], minlength=len(counts))
    present = counts > 0
    return KitchenScores(
        top1=float(_hits(ranking, targets, 1).mean()),
        top5=float(_hits(ranking, targets, 5).mean()),
        class_mean_recall5=float((recalled[present] / counts[present]).mean()),
    )


def _hits(scores: NDArray[np.float64], targets: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return (best == targets[:, None]).any(axis=1)
