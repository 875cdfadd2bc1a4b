"""The Bayes ceiling and the frequency baseline on tables of segments."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from sgear.datasets.benchmark import Benchmark
from sgear.errors import AnnotationError
from sgear.kitchen import (
    KitchenConfig,
    bayes_ceiling,
    bayes_scores,
    frequency_baseline,
    kitchen_law,
    make_world,
    recall_ranking,
    world_benchmark,
)
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def benchmark_() -> Benchmark:
    return world_benchmark(make_world(KitchenConfig()))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_ceiling_is_far_above_the_frequency_baseline(benchmark_: Benchmark, split: str) -> None:
    segments = getattr(benchmark_, split)
    ceiling, baseline = bayes_ceiling(segments), frequency_baseline(benchmark_.train, segments)
    for name in ("top1", "top5", "class_mean_recall5"):
        assert 1.0 >= getattr(ceiling, name) > getattr(baseline, name) + 0.3 > 0.3


def test_frequency_baseline_recalls_exactly_its_five_classes(benchmark_: Benchmark) -> None:
    present = (benchmark_.train.action_counts() > 0).sum()
    scores = frequency_baseline(benchmark_.train, benchmark_.train)
    assert scores.class_mean_recall5 == pytest.approx(5 / present)
    assert scores.top1 == pytest.approx(benchmark_.train.action_counts().max() / len(benchmark_.train))


def test_first_segment_of_a_film_gets_the_initial_distribution(benchmark_: Benchmark) -> None:
    law, taxonomy = kitchen_law(), benchmark_.taxonomy
    scores = bayes_scores(benchmark_.validation)
    names = [(taxonomy.verbs[verb], taxonomy.nouns[noun]) for verb, noun in taxonomy.action_pairs]
    initial = law.next_action_distribution([])[[law.action_ids[name] for name in names]]
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


def test_film_without_its_beginning_is_refused(benchmark_: Benchmark) -> None:
    stir = [name.startswith("stir") for name in benchmark_.taxonomy.action_names]
    segments = benchmark_.validation
    first_stir = int(np.flatnonzero(np.array(stir)[segments.column("action_id")])[0])
    rest = SegmentTable(segments.frame[first_stir:], segments.taxonomy, origin="cut film")
    with pytest.raises(AnnotationError, match=r"cut film: film P\d\d_\d\d: .*whole films"):
        bayes_scores(rest)
