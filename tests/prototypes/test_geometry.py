"""Numbers, neighbours and agreement of sets of prototypes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from sgear.prototypes import cosine_relations
from sgear.prototypes.geometry import agreement, measure, nearest_neighbors
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy(
    verbs=("take", "wash"), nouns=("cup", "pan", "egg"), action_pairs=((0, 0), (0, 1), (1, 0), (1, 1), (0, 2))
)


def make_vectors(seed: int = 0, num: int = 5, width: int = 4) -> torch.Tensor:
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed))


def cosine(one, other) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


@given(seed=st.integers(0, 2**20))
def test_numbers_equal_those_made_by_loops(seed):
    vectors = make_vectors(seed)
    rows = vectors.tolist()
    groups: dict[str, list[float]] = {"verb": [], "noun": [], "none": [], "all": []}
    for one in range(5):
        for other in range(one + 1, 5):
            value = cosine(rows[one], rows[other])
            groups["all"].append(value)
            verb, noun = (a == b for a, b in zip(TAXONOMY.action_pairs[one], TAXONOMY.action_pairs[other], strict=True))
            if verb:
                groups["verb"].append(value)
            if noun:
                groups["noun"].append(value)
            if not verb and not noun:
                groups["none"].append(value)
    found = measure(vectors, TAXONOMY)
    norms = [math.sqrt(sum(value * value for value in row)) for row in rows]
    assert found.norm_mean == pytest.approx(sum(norms) / 5, rel=1e-5)
    assert (found.norm_min, found.norm_max) == pytest.approx((min(norms), max(norms)), rel=1e-5)
    assert found.cosine_mean == pytest.approx(sum(groups["all"]) / 10, abs=1e-5)
    assert (found.cosine_min, found.cosine_max) == pytest.approx((min(groups["all"]), max(groups["all"])), abs=1e-5)
    for name, value in (
        ("verb", found.cosine_same_verb),
        ("noun", found.cosine_same_noun),
        ("none", found.cosine_unrelated),
    ):
        assert value == pytest.approx(sum(groups[name]) / len(groups[name]), abs=1e-5)


def test_a_vocabulary_without_shared_nouns_says_so():
    taxonomy = Taxonomy.from_labels(["cut_tomato", "cut_onion"])
    found = measure(make_vectors(num=2), taxonomy)
    assert found.cosine_same_noun is None
    assert found.cosine_unrelated is None
    assert found.cosine_same_verb is not None


def test_one_prototype_has_no_geometry():
    with pytest.raises(ValueError, match="at least two prototypes, got 1"):
        measure(make_vectors(num=1), Taxonomy.from_labels(["cut_tomato"]))


@given(seed=st.integers(0, 2**20), num=st.integers(2, 12), k=st.integers(1, 6))
def test_neighbours_are_the_largest_cosines_without_the_class_itself(seed, num, k):
    vectors = make_vectors(seed, num)
    relations = cosine_relations(vectors)
    for action, near in enumerate(nearest_neighbors(vectors, k=k)):
        others = sorted((float(relations[action, other]) for other in range(num) if other != action), reverse=True)
        assert [cosine for _, cosine in near] == pytest.approx(others[:k])
        assert action not in {other for other, _ in near}


def test_a_set_agrees_with_itself_and_with_its_rotation():
    vectors = make_vectors()
    rotation, _ = torch.linalg.qr(make_vectors(1, 4))
    assert agreement(vectors, vectors) == pytest.approx(1.0)
    assert agreement(vectors, 3 * vectors @ rotation) == pytest.approx(1.0, abs=0.02)


def test_agreement_is_the_rank_correlation_of_all_pairs():
    one, other = make_vectors(0), make_vectors(1, width=7)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    told = [cosine(one[i].tolist(), one[j].tolist()) for i, j in pairs]
    seen = [cosine(other[i].tolist(), other[j].tolist()) for i, j in pairs]
    assert agreement(one, other) == pytest.approx(float(spearmanr(told, seen).statistic))
    assert agreement(other, one) == pytest.approx(agreement(one, other))


def test_an_agreement_without_meaning_is_none():
    assert agreement(make_vectors(num=2), make_vectors(num=2)) is None
    assert agreement(torch.ones(4, 2), make_vectors(num=4)) is None
