"""From a table of predictions to the numbers of a benchmark: verb, noun, action; overall, unseen, tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.accuracy import top_k_accuracy
from sgear.metrics.marginalize import marginalize
from sgear.metrics.recall import class_mean_recall
from sgear.predictions.table import Predictions


def _three_numbers(scores: NDArray[np.floating], targets: NDArray[np.int64]) -> dict[str, float]:
    k = min(5, scores.shape[1])
    return {
        "top1": top_k_accuracy(scores, targets, k=1),
        "top5": top_k_accuracy(scores, targets, k=k),
        "recall5": class_mean_recall(scores, targets, k=k),
    }


def score(predictions: Predictions, subsets: dict[str, NDArray[np.bool_]] | None = None) -> dict[str, dict[str, float]]:
    """Compute top-1, top-5 and class-mean recall@5 of actions, verbs and nouns.

    Args:
        predictions: Scores of a whole split.
        subsets: Masks [M] of further groups of samples, e.g. `{"unseen": ..., "tail": ...}`; empty ones are left out.

    Returns:
        `{"action": {"top1": ..., "top5": ..., "recall5": ..., "num_samples": ...}, "verb": ..., "noun": ...}`
        in [0, 1], plus one entry per subset with the action's numbers. Ranking of verbs and nouns is by the sum of
        action probabilities.
    """
    taxonomy, probs = predictions.taxonomy, predictions.probs
    verb_probs = marginalize(probs, taxonomy.verb_of_action, len(taxonomy.verbs))
    noun_probs = marginalize(probs, taxonomy.noun_of_action, len(taxonomy.nouns))
    targets = predictions.targets
    result = {
        "action": _three_numbers(predictions.logits, targets),
        "verb": _three_numbers(verb_probs, taxonomy.verb_of_action[targets]),
        "noun": _three_numbers(noun_probs, taxonomy.noun_of_action[targets]),
    }
    for name, mask in (subsets or {}).items():
        if mask.any():
            result[name] = _three_numbers(predictions.logits[mask], targets[mask])
            result[name]["num_samples"] = int(mask.sum())
    for name in ("action", "verb", "noun"):
        result[name]["num_samples"] = len(predictions)
    return result
