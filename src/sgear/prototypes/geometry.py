"""The geometry of prototypes: cosines, what fits a width, and how much of it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from sgear.errors import PrototypeError
from sgear.taxonomy import Taxonomy

_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Numbers of one set of prototypes: lengths, and cosines of all pairs of different actions.

    A mean cosine over pairs that share the verb, the noun, or neither is None where there is no such pair.
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


def pairs_of(relations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine of each pair of different actions once [A (A - 1) / 2]."""
    return relations[np.triu_indices(len(relations), k=1)].astype(np.float64)


def measure(vectors: Float[Tensor, "A D"], taxonomy: Taxonomy) -> Geometry:
    """Measure a set of prototypes.

    Raises:
        ValueError: If there are fewer than two.
    """
    if len(vectors) < 2:
        raise ValueError(f"a geometry needs at least two prototypes, got {len(vectors)}")
    norms = vectors.double().norm(dim=1)
    cosines = pairs_of(cosine_relations(vectors).numpy())
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


def nearest_neighbors(vectors: Float[Tensor, "A D"], *, k: int = 5) -> list[list[tuple[int, float]]]:
    """Return id and cosine of the k most similar other actions of each action, best first; fewer where A <= k."""
    relations = cosine_relations(vectors).fill_diagonal_(-torch.inf)
    best = relations.topk(min(k, len(relations) - 1), dim=1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [list(zip(ids, cosines, strict=True)) for ids, cosines in pairs]


def agreement(first: Float[Tensor, "A D"], second: Float[Tensor, "A E"]) -> float | None:
    """Return Spearman's rank correlation of the cosines of all pairs of actions in two sets of prototypes, in [-1, 1].

    None where it has no meaning: fewer than three actions, or a set in which all pairs have the same cosine.
    """
    cosines = [pairs_of(cosine_relations(vectors).numpy()) for vectors in (first, second)]
    if len(first) < 3 or any(np.ptp(values) == 0 for values in cosines):
        return None
    return float(spearmanr(*cosines).statistic)  # type: ignore[attr-defined]


def cosine_relations(prototypes: Float[Tensor, "A D"]) -> Float[Tensor, "A A"]:
    """Return the cosine of each prototype to each other one; symmetric with ones on the diagonal."""
    unit = F.normalize(prototypes.double(), dim=-1)
    return (unit @ unit.T).float()


def vectors_of_relations(relations: Float[Tensor, "A A"]) -> Float[Tensor, "A A"]:
    """Return unit vectors that have the given cosines: `cosine_relations` of them gives the matrix back.

    Cosines fix vectors up to a rotation, and the semantic loss reads cosines alone; so a table of cosines serves it as
    well as the embeddings behind it. The vectors are the rows of V sqrt(L) in the eigendecomposition V L V^T.

    Args:
        relations: Cosines of A vectors to each other.

    Raises:
        PrototypeError: If no vectors can have these cosines.
    """
    matrix = relations.double()
    asymmetry = float((matrix - matrix.T).abs().max())
    off_diagonal = float((matrix.diagonal() - 1).abs().max())
    if not max(asymmetry, off_diagonal) < _TOLERANCE:
        raise PrototypeError(
            f"not a table of cosines: it should be symmetric with ones on its diagonal, but entries differ by up to "
            f"{asymmetry:.3g} from their mirror and diagonal ones by {off_diagonal:.3g} from 1"
        )
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    if float(values[0]) < -_TOLERANCE * len(matrix):
        raise PrototypeError(
            f"not a table of cosines: its smallest eigenvalue is {float(values[0]):.3g}, but the cosines of real "
            "vectors have none below 0"
        )
    return (vectors * values.clamp(min=0).sqrt()).float()


def fit_width(vectors: Float[Tensor, "A E"], width: int) -> Float[Tensor, "A D"]:
    """Return the vectors in another width, scaled to a mean length of 1; their cosines stay.

    Exact where `width` is at least the rank of the vectors (at most A or E); else the principal directions are kept.

    Args:
        vectors: One per action.
        width: Width D wanted.
    """
    # U S of the SVD: the same cosines in as few numbers as the rank asks for.
    scores, spread, _ = torch.linalg.svd(vectors.double(), full_matrices=False)
    kept = (scores * spread)[:, :width]
    fitted = torch.zeros(len(vectors), width, dtype=torch.double)
    fitted[:, : kept.shape[1]] = kept
    # A random rotation: principal directions alone would put most of every vector into the first few numbers.
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(width, width, dtype=torch.double, generator=generator))
    return (fitted @ turn / fitted.norm(dim=1).mean()).float()
