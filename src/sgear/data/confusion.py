"""What a frame classifier would make of an annotated action: a noise model of the past."""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sgear.taxonomy import Taxonomy


class ActionConfusion:
    """Replaces actions by others, each with the probability of its row.

    In training each look draws anew. Otherwise what is said of an action depends on it and its video alone, so that
    every window sees the same mistakes, as it would those of one classifier that watched the video once.

    Args:
        cumulative: Running sums of the rows of P(said | true) [A A].
        seed: Seed of what is said in evaluation.
    """

    def __init__(self, probs: Float[NDArray, "A A"], *, seed: int = 0) -> None:
        sums = np.cumsum(probs, axis=1)
        self.cumulative = sums / sums[:, -1:]
        self.seed = seed

    def of(
        self,
        actions: NDArray[np.int64],
        video_id: str,
        starts_s: NDArray[np.float64],
        rng: np.random.Generator | None,
    ) -> NDArray[np.int64]:
        """Return what is said of actions [M] that began at given seconds of a video."""
        if rng is not None:
            draws = rng.random(len(actions))
        else:
            # Milliseconds name an action of a video; a sum of them would repeat between videos.
            keys = [f"{self.seed}/{video_id}/{start_s:.3f}".encode() for start_s in starts_s]
            draws = np.array([zlib.crc32(key) for key in keys]) / 2**32
        said = [
            int(np.searchsorted(self.cumulative[a], draw, side="right")) for a, draw in zip(actions, draws, strict=True)
        ]
        return np.minimum(said, len(self.cumulative) - 1)


def field_confusion(taxonomy: Taxonomy, counts: NDArray[np.int64], *, strength: float) -> Float[NDArray, "A A"]:
    """Return P(said | true): right with 1 - strength, else an action with the same verb or noun, by its frequency.

    An action that shares neither with any other is always right.

    Args:
        taxonomy: Verbs and nouns of the actions.
        counts: Training samples of each action [A].
        strength: Share of mistakes, in [0, 1].
    """
    verbs, nouns = taxonomy.verb_of_action, taxonomy.noun_of_action
    is_near = (verbs[:, None] == verbs) | (nouns[:, None] == nouns)
    np.fill_diagonal(is_near, False)
    near = is_near * (counts + 1.0)
    sums = near.sum(axis=1, keepdims=True)
    probs = strength * np.divide(near, sums, out=np.zeros_like(near), where=sums > 0)
    np.fill_diagonal(probs, np.where(sums[:, 0] > 0, 1 - strength, 1.0))
    return probs


def counted_confusion(said: NDArray[np.int64], true: NDArray[np.int64], taxonomy: Taxonomy) -> Float[NDArray, "A A"]:
    """Return P(said | true) as counted in the predictions of a real frame classifier.

    A row with few samples leans on being right: one sample of that kind is added to each.

    Args:
        said: Best action of each prediction [M].
        true: Annotated action of each [M].
        taxonomy: Vocabulary.
    """
    probs = np.eye(taxonomy.num_actions)
    np.add.at(probs, (true, said), 1.0)
    return probs / probs.sum(axis=1, keepdims=True)
