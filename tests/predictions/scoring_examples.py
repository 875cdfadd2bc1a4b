"""Small tables of predictions with and without heads of their own, and masks of subsets."""

import numpy as np

from sgear.predictions import Predictions
from sgear.taxonomy import FIELDS, Taxonomy

PROTOCOL = {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 10.0, "fps": 1.0}
NUM_VERBS, NUM_NOUNS = 7, 9


def make_taxonomy(seed=0, num_actions=30) -> Taxonomy:
    pairs = [(verb, noun) for verb in range(NUM_VERBS - 1) for noun in range(NUM_NOUNS)]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:num_actions]
    return Taxonomy(
        verbs=tuple(f"verb{index}" for index in range(NUM_VERBS)),
        nouns=tuple(f"noun{index}" for index in range(NUM_NOUNS)),
        action_pairs=tuple(pairs[index] for index in sorted(chosen)),
    )


def make_table(seed=0, num_samples=80, *, has_heads=False) -> Predictions:
    rng = np.random.default_rng(seed)
    taxonomy = make_taxonomy()

    def drawn(num_classes):
        return rng.standard_normal((num_samples, num_classes)).astype(np.float32)

    return Predictions(
        uids=tuple(f"v_{index}" for index in range(num_samples)),
        logits=2 * drawn(taxonomy.num_actions),
        targets=rng.integers(0, taxonomy.num_actions, num_samples),
        taxonomy=taxonomy,
        protocol=PROTOCOL,
        verb_logits=drawn(NUM_VERBS) if has_heads else None,
        noun_logits=drawn(NUM_NOUNS) if has_heads else None,
    )


def make_masks(num_samples=80):
    rng = np.random.default_rng(9)
    return {
        "unseen": {field: rng.random(num_samples) < share for field, share in zip(FIELDS, (0.2, 0.3, 0.5), strict=True)}
    }


PAIRS = tuple((verb, noun) for verb in range(4) for noun in range(5))
GRADED_TAXONOMY = Taxonomy(tuple("abcd"), tuple("vwxyz"), PAIRS)


def graded_table(seed, *, strength=1.0, num_samples=60, prefix="h", **changes) -> Predictions:
    """Scores of 20 actions that favor the true one by a given strength."""
    targets = changes.pop("targets", np.random.default_rng(99).integers(0, 20, num_samples))
    logits = np.random.default_rng(seed).normal(size=(num_samples, 20))
    logits[np.arange(num_samples), targets] += strength
    fields = {
        "uids": tuple(f"{prefix}_{index}" for index in range(num_samples)),
        "logits": logits.astype(np.float32),
        "targets": targets,
        "taxonomy": GRADED_TAXONOMY,
        "protocol": PROTOCOL,
        "provenance": {"model": f"m{seed}"},
    }
    return Predictions(**(fields | changes))
