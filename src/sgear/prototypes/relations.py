"""Cosines between prototypes: the geometry that language lends to vision."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from sgear.errors import PrototypeError

_TOLERANCE = 1e-3


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
    scores, spread, _ = torch.linalg.svd(vectors.double(), full_matrices=False)
    kept = (scores * spread)[:, :width]
    fitted = torch.zeros(len(vectors), width, dtype=torch.double)
    fitted[:, : kept.shape[1]] = kept
    # A random rotation: principal directions alone would put most of every vector into the first few numbers.
    generator = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(width, width, dtype=torch.double, generator=generator))
    return (fitted @ turn / fitted.norm(dim=1).mean()).float()
