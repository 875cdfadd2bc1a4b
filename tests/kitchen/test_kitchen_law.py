"""The laws of the kitchen's law: exact posteriors, honest samples."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.kitchen.grammar import Act, AnyOrder, Either, Node, Seq
from sgear.kitchen.law import KitchenLaw, kitchen_law
from sgear.kitchen.recipes import recipes

PREFIX_LENGTH = 5
Prefixes = dict[tuple[tuple[str, str], ...], float]

seeds = st.integers(0, 10**6)


def continue_prefixes(node: Node, prefixes: Prefixes) -> Prefixes:
    """Slow twin of the compiled chain: run a program on every prefix, following the definition of each node."""
    if isinstance(node, Act):
        return {
            prefix if len(prefix) == PREFIX_LENGTH else (*prefix, (node.verb, node.noun)): probability
            for prefix, probability in prefixes.items()
        }
    if isinstance(node, Seq):
        for part in node.parts:
            prefixes = continue_prefixes_merged(part, prefixes)
        return prefixes
    if isinstance(node, Either):
        total = sum(weight for weight, _ in node.options)
        branches = [(weight / total, option) for weight, option in node.options]
    else:
        assert isinstance(node, AnyOrder)
        orders = list(permutations(node.parts))
        shares = [(1 - node.habit) / len(orders) for _ in orders]
        shares[0] += node.habit
        branches = [(share, Seq(order)) for share, order in zip(shares, orders, strict=True)]
    merged: Prefixes = {}
    for weight, branch in branches:
        for prefix, probability in continue_prefixes_merged(branch, prefixes).items():
            merged[prefix] = merged.get(prefix, 0.0) + weight * probability
    return merged


def continue_prefixes_merged(node: Node, prefixes: Prefixes) -> Prefixes:
    if not isinstance(node, Act):
        return continue_prefixes(node, prefixes)
    merged: Prefixes = {}
    for prefix, probability in prefixes.items():
        for longer, share in continue_prefixes(node, {prefix: probability}).items():
            merged[longer] = merged.get(longer, 0.0) + share
    return merged


@pytest.fixture(scope="module")
def prefix_table() -> Prefixes:
    """Probability of every start of an episode of up to PREFIX_LENGTH actions."""
    programs = recipes()
    total = sum(prior for _, prior, _ in programs)
    table: Prefixes = {}
    for _, prior, program in programs:
        for whole, probability in continue_prefixes_merged(program, {(): prior / total}).items():
            assert len(whole) == PREFIX_LENGTH, "an episode is shorter than the prefixes of this twin"
            for length in range(PREFIX_LENGTH + 1):
                table[whole[:length]] = table.get(whole[:length], 0.0) + probability
    return table


@settings(max_examples=60, deadline=None)
@given(seed=seeds, length=st.integers(0, PREFIX_LENGTH - 1))
def test_posterior_equals_enumeration_of_all_episode_starts(prefix_table: Prefixes, seed: int, length: int) -> None:
    law = kitchen_law()
    past = law.sample_film(PREFIX_LENGTH, np.random.default_rng(seed))[:length]
    names = tuple(law.actions[action] for action in past)
    expected = [prefix_table.get((*names, pair), 0.0) / prefix_table[names] for pair in law.actions]
    np.testing.assert_allclose(law.next_action_distribution(past), expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, num_actions=st.integers(1, 60))
def test_posteriors_are_distributions_and_give_the_sampled_film_a_chance(seed: int, num_actions: int) -> None:
    law = kitchen_law()
    film = law.sample_film(num_actions, np.random.default_rng(seed))
    posteriors = law.next_action_posteriors(film)
    assert posteriors.shape == (num_actions + 1, law.num_actions)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1.0, atol=1e-12)
    assert (posteriors >= 0).all()
    assert (posteriors[np.arange(num_actions), film] > 0).all()


def test_sampled_next_actions_are_as_frequent_as_the_posterior_says() -> None:
    law = kitchen_law()
    rng = np.random.default_rng(7)
    predicted, happened = [], []
    for _ in range(400):
        film = law.sample_film(40, rng)
        predicted.append(law.next_action_posteriors(film)[:-1])
        happened.append(np.eye(law.num_actions)[film])
    probability, outcome = np.concatenate(predicted).ravel(), np.concatenate(happened).ravel()
    assert not outcome[probability == 0].any()
    bins = np.digitize(probability, [1e-9, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1 - 1e-9])
    for index in range(1, 11):
        inside = bins == index
        # The excess over the prediction is a sum of martingale differences with this variance.
        deviation = np.sqrt((probability[inside] * (1 - probability[inside])).sum())
        excess = (outcome[inside] - probability[inside]).sum()
        assert abs(excess) < 4 * deviation, f"bin {index}: {excess:.1f} too many, deviation {deviation:.1f}"


def test_same_seed_gives_same_episode() -> None:
    law = kitchen_law()
    assert law.sample_episode(np.random.default_rng(5)) == KitchenLaw().sample_episode(np.random.default_rng(5))


def test_impossible_past_is_refused_by_name() -> None:
    law = kitchen_law()
    start = law.action_ids["stir", "pan"]
    with pytest.raises(ValueError, match="action 0 of the film, 'stir pan'"):
        law.next_action_distribution([start])


def test_future_is_uncertain_but_not_random() -> None:
    law = kitchen_law()
    rng = np.random.default_rng(0)
    best = np.concatenate([law.next_action_posteriors(law.sample_film(45, rng))[:-1] for _ in range(60)])
    top5 = -np.sort(-best, axis=1)[:, :5]
    assert 0.6 < top5[:, 0].mean() < 0.75
    assert 0.93 < top5.sum(axis=1).mean() < 0.985


def test_rarest_action_is_at_least_forty_times_rarer_than_the_commonest() -> None:
    law = kitchen_law()
    occupancy = law.initial
    for _ in range(120):
        occupancy = 0.5 * occupancy + 0.5 * occupancy @ law.transitions
    frequency = np.bincount(law.action_of_state, occupancy, law.num_actions)
    assert 40 < frequency.max() / frequency.min() < 120
