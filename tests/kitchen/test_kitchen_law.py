"""The laws of the kitchen's law: exact posteriors, honest samples, and the ceiling on tables of segments."""

from itertools import combinations, permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.datasets import Benchmark
from sgear.datasets.epic import load_epic100
from sgear.errors import AnnotationError
from sgear.kitchen import (
    KitchenConfig,
    bayes_ceiling,
    bayes_scores,
    frequency_baseline,
    kitchen_law,
    make_world,
    recall_ranking,
    write_annotations,
)
from sgear.kitchen.recipes import Act, AnyOrder, Either, Node, Seq, recipes
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

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
    past = law.sample_video(PREFIX_LENGTH, np.random.default_rng(seed))[:length]
    names = tuple(law.actions[action] for action in past)
    expected = [prefix_table.get((*names, pair), 0.0) / prefix_table[names] for pair in law.actions]
    np.testing.assert_allclose(law.next_action_posteriors(past)[-1], expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, num_actions=st.integers(1, 60))
def test_posteriors_are_distributions_and_give_the_sampled_video_a_chance(seed: int, num_actions: int) -> None:
    law = kitchen_law()
    video = law.sample_video(num_actions, np.random.default_rng(seed))
    posteriors = law.next_action_posteriors(video)
    assert posteriors.shape == (num_actions + 1, len(law.actions))
    np.testing.assert_allclose(posteriors.sum(axis=1), 1.0, atol=1e-12)
    assert (posteriors >= 0).all()
    assert (posteriors[np.arange(num_actions), video] > 0).all()


def test_sampled_next_actions_are_as_frequent_as_the_posterior_says() -> None:
    law = kitchen_law()
    rng = np.random.default_rng(7)
    predicted, happened = [], []
    for _ in range(400):
        video = law.sample_video(40, rng)
        predicted.append(law.next_action_posteriors(video)[:-1])
        happened.append(np.eye(len(law.actions))[video])
    probability, outcome = np.concatenate(predicted).ravel(), np.concatenate(happened).ravel()
    assert not outcome[probability == 0].any()
    bins = np.digitize(probability, [1e-9, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1 - 1e-9])
    for index in range(1, 11):
        inside = bins == index
        # The excess over the prediction is a sum of martingale differences with this variance.
        deviation = np.sqrt((probability[inside] * (1 - probability[inside])).sum())
        excess = (outcome[inside] - probability[inside]).sum()
        assert abs(excess) < 4 * deviation, f"bin {index}: {excess:.1f} too many, deviation {deviation:.1f}"


def test_impossible_past_is_refused_by_name() -> None:
    law = kitchen_law()
    start = law.action_ids["stir", "pan"]
    with pytest.raises(ValueError, match="action 0 of the video, 'stir pan'"):
        law.next_action_posteriors([start])


def test_future_is_uncertain_but_not_random() -> None:
    law = kitchen_law()
    rng = np.random.default_rng(0)
    best = np.concatenate([law.next_action_posteriors(law.sample_video(45, rng))[:-1] for _ in range(60)])
    top5 = -np.sort(-best, axis=1)[:, :5]
    assert 0.6 < top5[:, 0].mean() < 0.75
    assert 0.93 < top5.sum(axis=1).mean() < 0.985


def test_rarest_action_is_at_least_forty_times_rarer_than_the_commonest() -> None:
    law = kitchen_law()
    occupancy = law.initial
    for _ in range(120):
        occupancy = 0.5 * occupancy + 0.5 * occupancy @ law.transitions
    frequency = np.bincount(law.action_of_state, occupancy, len(law.actions))
    assert 40 < frequency.max() / frequency.min() < 120


@pytest.fixture(scope="module")
def benchmark_(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    folder = tmp_path_factory.mktemp("kitchen")
    write_annotations(make_world(KitchenConfig()), folder)
    return load_epic100(folder)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_ceiling_is_far_above_the_frequency_baseline(benchmark_: Benchmark, split: str) -> None:
    segments = getattr(benchmark_, split)
    ceiling, baseline = bayes_ceiling(segments), frequency_baseline(benchmark_.train, segments)
    for name in ("top1", "top5", "class_mean_recall5"):
        assert 1.0 >= getattr(ceiling, name) > getattr(baseline, name) + 0.3 > 0.3


def test_first_segment_of_a_video_gets_the_initial_distribution(benchmark_: Benchmark) -> None:
    law, taxonomy = kitchen_law(), benchmark_.taxonomy
    scores = bayes_scores(benchmark_.validation)
    names = [(taxonomy.verbs[verb], taxonomy.nouns[noun]) for verb, noun in taxonomy.action_pairs]
    initial = law.next_action_posteriors([])[-1][[law.action_ids[name] for name in names]]
    is_first = [uid.endswith("_0") for uid in benchmark_.validation.uids]
    np.testing.assert_allclose(scores[is_first], np.tile(initial, (sum(is_first), 1)))


def test_scores_follow_the_rows_of_the_table(benchmark_: Benchmark) -> None:
    segments = benchmark_.validation
    order = np.random.default_rng(0).permutation(len(segments))
    shuffled = SegmentTable(segments.frame[order], segments.taxonomy, origin="shuffled")
    np.testing.assert_array_equal(bayes_scores(shuffled), bayes_scores(segments)[order])


def test_recall_ranking_picks_the_guesses_of_greatest_expected_recall() -> None:
    rng = np.random.default_rng(3)
    posterior = rng.dirichlet(np.ones(8), size=1)
    counts = np.array([40, 1, 9, 3, 0, 25, 2, 60])
    chosen = np.argsort(-recall_ranking(posterior, counts)[0])[:3]

    def expected(guesses: tuple[int, ...]) -> float:
        return sum(float(posterior[0, c]) / int(counts[c]) for c in guesses if counts[c])

    best = max(combinations(range(8), 3), key=expected)
    assert set(chosen.tolist()) == set(best)


def test_unknown_action_is_refused_by_name() -> None:
    taxonomy = Taxonomy.from_labels(["juggle knife"])
    row = {"uid": "a", "participant_id": "P01", "video_id": "P01_01", "start_s": 0.0, "stop_s": 1.0}
    frame = pl.DataFrame([{**row, "verb_id": 0, "noun_id": 0, "action_id": 0}])
    with pytest.raises(AnnotationError, match="juggle knife"):
        bayes_scores(SegmentTable(frame, taxonomy, origin="other"))


def test_video_without_its_beginning_is_refused(benchmark_: Benchmark) -> None:
    stir = [name.startswith("stir") for name in benchmark_.taxonomy.action_names]
    segments = benchmark_.validation
    first_stir = int(np.flatnonzero(np.array(stir)[segments.column("action_id")])[0])
    rest = SegmentTable(segments.frame[first_stir:], segments.taxonomy, origin="cut video")
    with pytest.raises(AnnotationError, match=r"cut video: video P\d\d_\d\d: .*whole videos"):
        bayes_scores(rest)
