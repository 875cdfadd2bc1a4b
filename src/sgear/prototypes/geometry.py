"""What a set of prototypes looks like in numbers: norms, cosines, neighbours, and the agreement of two sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from sgear.prototypes.relations import cosine_relations
from sgear.taxonomy import Taxonomy


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Numbers of one set of prototypes. Cosines are those of pairs of different actions.

    Args:
        num_actions: Number of prototypes A.
        width: Their width D.
        norm_mean: Mean length.
        norm_std: Standard deviation of the lengths.
        norm_min: Smallest length.
        norm_max: Largest length.
        cosine_mean: Mean cosine.
        cosine_min: Smallest cosine.
        cosine_max: Largest cosine.
        cosine_same_verb: Mean cosine of pairs that share the verb; None where no pair does.
        cosine_same_noun: Mean cosine of pairs that share the noun; None where no pair does.
        cosine_unrelated: Mean cosine of pairs that share neither; None where all do.
    """

    num_actions: int
    width: int
    norm_mean: float
    norm_std: float
    norm_min: float
    norm_max: float
    cosine_mean: float
    cosine_min: float
    cosine_max: float
    cosine_same_verb: float | None
    cosine_same_noun: float | None
    cosine_unrelated: float | None


@dataclass(frozen=True)
class Neighbour:
    """A near prototype of an action."""

    action_id: int
    cosine: float


def pairs_of(relations: Float[Tensor, "A A"]) -> NDArray[np.float64]:
    """Return the cosine of each pair of different actions once [A (A - 1) / 2]."""
    matrix = relations.numpy().astype(np.float64)
    return matrix[np.triu_indices(len(matrix), k=1)]


def measure(vectors: Float[Tensor, "A D"], taxonomy: Taxonomy) -> Geometry:
    """Measure a set of prototypes.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(vectors) < 2:
        raise ValueError(f"a geometry needs at least two prototypes, got {len(vectors)}")
    norms = vectors.double().norm(dim=1)
    cosines = pairs_of(cosine_relations(vectors))
    rows, columns = np.triu_indices(len(vectors), k=1)
    same_verb = taxonomy.verb_of_action[rows] == taxonomy.verb_of_action[columns]
    same_noun = taxonomy.noun_of_action[rows] == taxonomy.noun_of_action[columns]

    def mean_over(mask: NDArray[np.bool_]) -> float | None:
        return float(cosines[mask].mean()) if mask.any() else None

    return Geometry(
        num_actions=len(vectors),
        width=vectors.shape[1],
        norm_mean=float(norms.mean()),
        norm_std=float(norms.std(correction=0)),
        norm_min=float(norms.min()),
        norm_max=float(norms.max()),
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        cosine_max=float(cosines.max()),
        cosine_same_verb=mean_over(same_verb),
        cosine_same_noun=mean_over(same_noun),
        cosine_unrelated=mean_over(~(same_verb | same_noun)),
    )


def nearest_neighbours(vectors: Float[Tensor, "A D"], *, k: int = 5) -> list[list[Neighbour]]:
    """Return the k most similar other actions of each action, the most similar first; fewer where A <= k."""
    relations = cosine_relations(vectors)
    relations.fill_diagonal_(-torch.inf)
    best = relations.topk(min(k, len(relations) - 1), dim=1)
    return [
        [Neighbour(action_id, cosine) for action_id, cosine in zip(ids, cosines, strict=True)]
        for ids, cosines in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def agreement(first: Float[Tensor, "A D"], second: Float[Tensor, "A E"]) -> float | None:
    """Return Spearman's rank correlation of the cosines of all pairs of actions in two sets of prototypes, in [-1, 1].

    None where it has no meaning: fewer than three actions, or a set in which all pairs have the same cosine.
    """
    cosines = [pairs_of(cosine_relations(vectors)) for vectors in (first, second)]
    if len(first) < 3 or any(np.ptp(values) == 0 for values in cosines):
        return None
    return float(spearmanr(*cosines).statistic)  # type: ignore[attr-defined]
