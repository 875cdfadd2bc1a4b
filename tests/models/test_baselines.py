"""Baselines as models: what they learn from a small world whose law is known."""

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
import torch

from sgear.data import AnnotationSource, AnticipationDataset, FeatureSource, StepLabels, collate
from sgear.data.dataset import observable_segments
from sgear.datasets import load_dataset
from sgear.errors import ConfigError
from sgear.features import FeatureTable, VideoFeatures
from sgear.metrics.class_means import class_mean_recall
from sgear.models import Baseline, CountsConfig, EncoderConfig, RegressionConfig, build_model, model_config
from sgear.models.base import model_class
from sgear.models.baselines import SPANS, transition_probs
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=8.0, fps=1.0)
FPS = 2.0
CYCLES = [[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1]]


def table_of(videos: dict[str, list[tuple[float, float, int]]]) -> SegmentTable:
    rows = [(f"{name}_{i}", name, *row) for name, segments in videos.items() for i, row in enumerate(segments)]
    actions = [row[-1] for row in rows]
    frame = pl.DataFrame(
        {
            "uid": [row[0] for row in rows],
            "participant_id": ["P01"] * len(rows),
            "video_id": [row[1] for row in rows],
            "start_s": [float(row[2]) for row in rows],
            "stop_s": [float(row[3]) for row in rows],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="made")


def table_of_orders(orders: list[list[int]]) -> SegmentTable:
    """Videos of segments of 6 s each."""
    return table_of({f"v{k}": [(6 * i, 6 * i + 6, a) for i, a in enumerate(order)] for k, order in enumerate(orders)})


def samples(table: SegmentTable, *, annotated: bool = False, noise: float = 0.1, seed: int = 0) -> AnticipationDataset:
    """Samples whose rows show the action going on, with noise; or its number."""
    labels, rng, shown = StepLabels(table), np.random.default_rng(seed), {}
    for name in table.video_ids:
        times_s = np.arange(int(table.of_video(name).column("stop_s").max() * FPS)) / FPS
        actions = labels.at(name, times_s)
        rows = np.eye(4)[np.where(actions < 0, 3, actions)] + noise * rng.standard_normal((len(times_s), 4))
        shown[name] = VideoFeatures(times_s, rows.astype(np.float32), "made")
    source = AnnotationSource(labels, num_steps=8) if annotated else FeatureSource(FeatureTable(shown))
    seen = table.take(observable_segments(table, PROTOCOL, source))
    return AnticipationDataset(seen, PROTOCOL, labels, source, seed=None)


def learned(name: str, table: SegmentTable, *, c: float = 1.0, smoothing: float = 1.0, noise: float = 0.1) -> Baseline:
    parts = {
        "encoder": EncoderConfig(feature_dim=4),
        "counts": CountsConfig(smoothing=smoothing),
        "regression": RegressionConfig(inverse_regularization=c),
    }
    read = {item.name for item in fields(model_class(name).Config)}
    config = model_config(name, max_steps=8, **{part: value for part, value in parts.items() if part in read})
    model = build_model(config, num_actions=3)
    assert isinstance(model, Baseline)
    dataset = samples(table, annotated="annotations" in model.sources, noise=noise)
    model.learn((dataset[index] for index in range(len(dataset))), table)
    return model.eval()


@torch.no_grad()
def probs(model: Baseline, dataset: AnticipationDataset) -> np.ndarray:
    batch = collate([dataset[index] for index in range(len(dataset))])
    return model(batch["clip"], batch["mask"]).logits.softmax(dim=-1).numpy()


def accuracy(model: Baseline, dataset: AnticipationDataset) -> float:
    return float(np.mean(probs(model, dataset).argmax(axis=1) == dataset.segments.column("action_id")))


# 0 is followed by 1 twice and by 2 once; 1 by 0.
TRAIN = table_of(
    {"a": [(2, 5, 0), (5, 10, 1), (10, 15, 0), (15, 20, 1)], "b": [(2, 5, 0), (5, 10, 2)]},
)


@pytest.mark.parametrize("name", ["last_recognised", "pooled"])
def test_a_baseline_on_features_follows_the_law_of_the_videos(name):
    assert accuracy(learned(name, table_of_orders(CYCLES)), samples(table_of_orders(CYCLES), seed=9)) == 1.0


def test_only_the_longer_past_tells_what_the_pooled_regression_sees():
    # After 1 comes 2 or 0, whichever has not been: the action before decides.
    table = table_of_orders([[0, 1, 2], [2, 1, 0]] * 4)
    dataset = samples(table)
    last = dataset.segments.column("start_s") == 12
    by_markov = probs(learned("last_recognised", table), dataset)[last]
    assert np.abs(by_markov[:, 0] - by_markov[:, 2]).max() < 0.2
    assert accuracy(learned("pooled", table), dataset) == 1.0


def test_frequency_counts_the_whole_training_split():
    # Nothing can be seen before the first segment; it counts all the same.
    table = table_of({"a": [(0, 5, 0), (5, 10, 1)]})
    assert probs(learned("frequency", table), samples(table, annotated=True))[0] == pytest.approx([0.4, 0.4, 0.2])


def test_the_annotated_past_follows_the_row_of_the_last_action():
    held_out = samples(table_of({"c": [(2, 5, 0), (5, 10, 1), (10, 15, 2)]}), annotated=True)
    found = probs(learned("last_action", TRAIN, smoothing=1e-9), held_out)
    # The window before the first segment shows no action; both training videos begin with 0.
    assert found == pytest.approx(np.array([[1, 0, 0], [0, 2 / 3, 1 / 3], [1, 0, 0]]), abs=1e-6)


def test_an_action_without_training_counts_falls_back_to_the_class_frequencies():
    after_2 = samples(table_of({"c": [(0, 5, 2), (5, 10, 0)]}), annotated=True)
    expected = probs(learned("frequency", TRAIN), after_2)
    assert probs(learned("last_action", TRAIN), after_2)[0] == pytest.approx(expected[0], abs=1e-5)


def test_more_smoothing_moves_the_scores_towards_the_class_frequencies():
    asked = samples(table_of({"c": [(0, 5, 0), (5, 10, 1)]}), annotated=True)
    frequency = probs(learned("frequency", TRAIN), asked)
    models = [learned("last_action", TRAIN, smoothing=smoothing) for smoothing in (0.1, 1.0, 9.0)]
    distance = [np.abs(probs(model, asked) - frequency).sum() for model in models]
    assert distance == sorted(distance, reverse=True)
    table = transition_probs(TRAIN, smoothing=1e9)
    assert table == pytest.approx(np.tile(frequency[0], (4, 1)), abs=1e-6)


def test_an_action_that_ended_before_the_window_is_forgotten_and_a_later_one_not_seen():
    model = learned("last_action", TRAIN)
    for with_it, without in (
        ([(0, 5, 0), (30, 32, 1)], [(30, 32, 1)]),
        ([(0, 9, 0), (9.5, 10, 1), (10, 12, 0)], [(0, 9, 0), (10, 12, 0)]),
    ):
        tables = (samples(table_of({"c": rows}), annotated=True) for rows in (with_it, without))
        assert np.array_equal(*(probs(model, dataset)[-1] for dataset in tables))


def test_recognising_the_past_well_equals_knowing_it():
    # Noiseless features show the action, so both pasts name the same one where the last step shows an action.
    table = table_of({name: [(5 * i, 5 * i + 5, (i + k) % 3) for i in range(8)] for k, name in enumerate("abc")})
    known = probs(learned("last_action", table), samples(table, annotated=True))
    seen = probs(learned("last_recognised", table, c=1e4, noise=0), samples(table, noise=0))
    assert np.abs(known - seen).max() < 0.02


def test_pooling_equals_means_over_the_newest_real_steps():
    model = learned("pooled", table_of_orders(CYCLES))
    clip, mask = torch.randn(5, 8, 4), torch.arange(8) >= torch.tensor([[0], [1], [3], [6], [7]])
    pooled = model.pool(clip, mask)
    for row in range(5):
        for end in range(8):
            real = clip[row, : end + 1][mask[row, : end + 1]]
            if not len(real):
                continue
            means = [real[-max(1, 8 // share) :].mean(dim=0) for share in SPANS]
            if end == 7:
                torch.testing.assert_close(pooled[row, end].float(), torch.cat(means))
    torch.testing.assert_close(model(clip, mask).next_logits[:, -1], model(clip, mask).logits)


def test_a_class_without_training_samples_gets_a_small_score():
    orders = [[0, 1, 0, 1], [1, 0, 1, 0]]
    found = probs(learned("pooled", table_of_orders(orders)), samples(table_of_orders(orders)))
    assert found[:, 2] == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize("name", ["last_action", "last_recognised"])
def test_no_smoothing_is_refused(name):
    with pytest.raises(ConfigError, match=r"smoothing must be positive, got 0\.0"):
        learned(name, TRAIN, smoothing=0.0)


def test_a_regression_needs_two_actions():
    with pytest.raises(ConfigError, match="at least two actions"):
        learned("pooled", table_of({"a": [(2, 5, 0), (5, 10, 0)]}))


@pytest.mark.slow
@pytest.mark.data
def test_the_last_annotated_action_of_epic_kitchens_100(real_data):
    benchmark = load_dataset("epic100", real_data / "epic-kitchens-100-annotations")
    protocol, labels = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0), StepLabels(benchmark.timeline)
    source = AnnotationSource(labels, num_steps=10)
    seen = benchmark.validation.take(observable_segments(benchmark.validation, protocol, source))
    assert (len(seen), len(benchmark.validation) - len(seen)) == (9641, 27)
    dataset = AnticipationDataset(seen, protocol, labels, source, seed=None)
    config = replace(model_config(name="last_action"), counts=CountsConfig())
    model = build_model(config, num_actions=benchmark.taxonomy.num_actions)
    assert isinstance(model, Baseline)
    model.learn(iter(()), benchmark.train)
    clips = torch.stack([dataset[index]["clip"] for index in range(len(dataset))])
    recall = class_mean_recall(model(clips).logits.numpy(), seen.column("action_id"), k=5)
    # Nearly what RULSTM gets from RGB features (0.133), so an annotated past is no weak opponent.
    assert recall == pytest.approx(0.1332, abs=1e-4)


@pytest.mark.parametrize("name", ["frequency", "last_action", "last_recognised", "pooled"])
def test_a_baseline_reads_nothing_that_comes_after_a_step(name):
    model = learned(name, table_of_orders(CYCLES))
    is_table = "annotations" in model.sources
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 4, (2, 8, 1), generator=generator).float() if is_table else torch.randn(2, 8, 4)
    other = clip.clone()
    other[:, 5:] = other[:, 5:].flip(1) + (0.0 if is_table else 1.0)
    first, second = model(clip).next_logits, model(other).next_logits
    torch.testing.assert_close(first[:, :5], second[:, :5])
