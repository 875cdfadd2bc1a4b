"""Visual prototypes: class means of the features that a recognition model gives to training actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sgear.errors import PrototypeError
from sgear.prototypes.files import read_prototypes, write_prototypes
from sgear.taxonomy import Taxonomy


@dataclass(frozen=True, kw_only=True)
class VisualPrototypes:
    """Class means with the number of exemplars behind each.

    Args:
        vectors: One prototype per action [A D].
        num_exemplars: Training clips behind each [A]; 0 marks a prototype made from its siblings.
        run: Recognition run they come from.
        taxonomy_digest: Digest of the vocabulary.
    """

    vectors: Float[Tensor, "A D"]
    num_exemplars: Int[Tensor, " A"]
    run: str
    taxonomy_digest: str

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        header: dict[str, object] = {
            "num_exemplars": self.num_exemplars.tolist(),
            "run": self.run,
            "taxonomy": self.taxonomy_digest,
        }
        write_prototypes(path, "visual", self.vectors, header)

    @classmethod
    def load(cls, path: Path, taxonomy: Taxonomy) -> VisualPrototypes:
        """Read a file written by `save` and check that it belongs to `taxonomy`.

        Raises:
            PrototypeError: If it does not, or is missing or damaged.
        """
        vectors, header = read_prototypes(path, "visual", taxonomy)
        return cls(
            vectors=vectors,
            num_exemplars=torch.tensor(header["num_exemplars"]),
            run=header["run"],
            taxonomy_digest=header["taxonomy"],
        )


def _mean_or_none(vectors: Tensor, chosen: Tensor) -> Tensor | None:
    return vectors[chosen].mean(dim=0) if chosen.any() else None


def class_means(
    features: Float[Tensor, "M D"], actions: Int[Tensor, " M"], taxonomy: Taxonomy, *, run: str
) -> VisualPrototypes:
    """Average the features of each action.

    An action without exemplars gets the mean of the prototypes of the actions that share its verb and of those that
    share its noun; without any sibling, the mean of all prototypes.

    Args:
        features: Features of training clips.
        actions: Action of each clip, in [0, A).
        taxonomy: Vocabulary.
        run: Name of the recognition run.

    Raises:
        PrototypeError: If there is no clip at all.
    """
    if not len(features):
        raise PrototypeError("visual prototypes need at least one training clip")
    counts = torch.bincount(actions, minlength=taxonomy.num_actions)
    sums = torch.zeros(taxonomy.num_actions, features.shape[1]).index_add_(0, actions, features.float())
    vectors = sums / counts.clamp(min=1)[:, None]
    has_exemplars = counts > 0
    verbs, nouns = torch.from_numpy(taxonomy.verb_of_action), torch.from_numpy(taxonomy.noun_of_action)
    overall = vectors[has_exemplars].mean(dim=0)
    filled = vectors.clone()
    for action in torch.nonzero(~has_exemplars).flatten().tolist():
        siblings = [
            _mean_or_none(vectors, has_exemplars & (verbs == verbs[action])),
            _mean_or_none(vectors, has_exemplars & (nouns == nouns[action])),
        ]
        known = [sibling for sibling in siblings if sibling is not None]
        filled[action] = torch.stack(known).mean(dim=0) if known else overall
    return VisualPrototypes(vectors=filled, num_exemplars=counts, run=run, taxonomy_digest=taxonomy.digest)
