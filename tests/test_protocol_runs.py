"""A trained run under other protocols and on other splits: what is stamped, what is refused, what is left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sgear.data import AnticipationDataset, FeatureSource
from sgear.errors import ConfigError, PredictionError
from sgear.experiment import load_run_config
from sgear.experiment.build import build_asked, build_data, load_benchmark
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict, predict_split
from sgear.experiment.schema import AnticipationConfig, DatasetConfig, ExperimentConfig, FeatureSourceConfig
from sgear.experiment.train import train_run
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.losses import ObjectiveConfig
from sgear.models import model_config
from sgear.models.config import DecoderConfig, EncoderConfig
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions
from sgear.scoring import make_report
from sgear.timing import AnticipationProtocol, ViewMean, VJepaProtocol
from sgear.training.config import OptimConfig, RuntimeConfig
from sgear.training.loop import make_accelerator
from sgear.training.run import RunDirectory, read_json


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("kitchen")
    build_kitchen(root, KitchenConfig(num_train_videos=3, num_validation_videos=2), num_processes=1, with_videos=False)
    return root


@pytest.fixture(scope="module")
def experiment(kitchen: Path, tmp_path_factory) -> ExperimentConfig:
    config = ExperimentConfig(
        name="head",
        output_root=str(tmp_path_factory.mktemp("runs")),
        dataset=DatasetConfig(name="kitchen", root=str(kitchen)),
        protocol=AnticipationConfig(tau_a_s=1.0, tau_o_s=4.0, fps=1.0),
        source=FeatureSourceConfig(features="oracle"),
        model=model_config(
            name="avt",
            width=16,
            max_steps=4,
            encoder=EncoderConfig(name="features", feature_dim=1),
            decoder=DecoderConfig(width=16, num_layers=1, num_heads=2),
        ),
        objective=ObjectiveConfig(feat=0.0),
        optim=OptimConfig(epochs=1, batch_size=64),
        runtime=RuntimeConfig(device="cpu"),
    )
    width = load_kitchen_width(kitchen)
    return replace(config, model=replace(config.model, encoder=EncoderConfig(name="features", feature_dim=width)))


def load_kitchen_width(root: Path) -> int:
    from sgear.kitchen import load_kitchen_features

    return load_kitchen_features(root).width


@pytest.fixture(scope="module")
def run(experiment: ExperimentConfig) -> Path:
    return train_run(experiment).path


def test_a_shorter_look_ahead_is_another_protocol_and_cannot_stand_beside_the_first(run: Path):
    trained = Predictions.load(RunDirectory(run).predictions)
    near, _ = predict_split(run, protocol=AnticipationProtocol(tau_a_s=0.5, tau_o_s=4.0, fps=1.0))
    assert near.protocol["tau_a_s"] == 0.5
    assert not np.array_equal(near.logits, trained.logits)
    with pytest.raises(PredictionError, match="different protocols"):
        trained.check_comparable(near)


def test_a_horizon_curve_keeps_predictions_and_scores_of_each_time(run: Path):
    result = evaluate_horizons(run, [2.0, 0.5])
    assert list(result["scores"]) == ["0.5", "2"]
    directory = RunDirectory(run)
    assert result == read_json(directory.horizons)
    assert 0 <= result["time_to_action_s"] <= 2.0
    for tau_a_s in (0.5, 2.0):
        table = Predictions.load(directory.horizon_predictions(tau_a_s))
        assert table.protocol["tau_a_s"] == tau_a_s
        assert len(table) == len(load_benchmark(DatasetConfig(root=str(run_kitchen(run)))).validation)


def run_kitchen(run: Path) -> Path:
    from sgear.experiment.compose import load_run_config

    return Path(load_run_config(RunDirectory(run).config).dataset.root)


@pytest.mark.parametrize("view_mean", ["probabilities", "logits"])
def test_views_are_averaged_as_the_protocol_says(run: Path, view_mean: ViewMean):
    trained, config = load_model(RunDirectory(run).model), load_run_config(RunDirectory(run).config)
    benchmark, asked = build_asked(config, "validation")
    single = asked.views[0]
    protocol = replace(single.protocol, views="three-crop", view_mean=view_mean)
    # Stored features have one view: rows of other instants stand for other crops.
    sources = [FeatureSource(single.source.table, pool_s=pool_s) for pool_s in (0.0, 1.0, 3.0)]
    views = tuple(
        AnticipationDataset(single.segments, protocol, single.labels, source, seed=None) for source in sources
    )
    answers = [
        predict(
            trained.model,
            replace(asked, views=chosen),
            benchmark.taxonomy,
            make_accelerator(config.runtime),
            batch_size=64,
            num_workers=0,
            log_prior=trained.log_prior,
            provenance={},
        )
        for chosen in (views, *((view,) for view in views))
    ]
    assert answers[0].protocol["view_mean"] == view_mean
    several, *each = (answer.logits.astype(np.float64) for answer in answers)
    assert not np.allclose(each[0], each[2], atol=1e-3)
    for row in range(len(several)):
        if view_mean == "logits":
            expected = sum(logits[row] for logits in each) / 3
        else:
            expected = np.log(sum(np.exp(logits[row]) / np.exp(logits[row]).sum() for logits in each) / 3)
        np.testing.assert_allclose(several[row], expected, rtol=1e-5, atol=1e-5)


def test_the_vjepa_protocol_leaves_out_untrained_classes_and_says_so(run: Path):
    predictions, benchmark = predict_split(run, protocol=VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0))
    trained = set(benchmark.train.column("action_id").tolist())
    num_left_out = sum(action not in trained for action in benchmark.validation.column("action_id").tolist())
    assert num_left_out > 0
    report = make_report(predictions, benchmark)
    assert report["num_evaluated"] == report["num_asked"] - num_left_out
    assert report["scores"]["overall"]["action"]["num_samples"] == report["num_evaluated"]
    assert "must not stand beside" in report["caveat"]
    official = Predictions.load(RunDirectory(run).predictions)
    with pytest.raises(PredictionError, match="different protocols"):
        official.check_comparable(predictions)


def test_predictions_of_other_segments_or_labels_are_not_scored(run: Path):
    predictions = Predictions.load(RunDirectory(run).predictions)
    benchmark = load_benchmark(DatasetConfig(root=str(run_kitchen(run))))
    with pytest.raises(PredictionError, match="missing"):
        make_report(predictions.take(np.arange(len(predictions) - 1)), benchmark)
    wrong = replace(predictions, targets=np.roll(predictions.targets, 1))
    with pytest.raises(PredictionError, match="true actions"):
        make_report(wrong, benchmark)


def test_the_training_split_can_be_asked_and_an_unknown_one_cannot(run: Path):
    predictions, benchmark = predict_split(run, split="train")
    assert predictions.uids == tuple(benchmark.train.uids)
    assert predictions.provenance["split"] == "train"
    with pytest.raises(ConfigError, match="choose validation"):
        predict_split(run, split="tset")


def test_evaluating_again_changes_nothing(run: Path):
    before = read_json(RunDirectory(run).report)
    assert evaluate_run(run) == before


def test_a_window_longer_than_the_model_is_refused(run: Path):
    with pytest.raises(ConfigError, match="more steps"):
        predict_split(run, protocol=AnticipationProtocol(tau_a_s=1.0, tau_o_s=8.0, fps=1.0))


def test_folds_validate_on_training_people_only(experiment: ExperimentConfig):
    official = load_benchmark(experiment.dataset)
    asked = set()
    for fold in range(2):
        held_out = load_benchmark(replace(experiment.dataset, num_folds=2, fold=fold))
        asked |= set(held_out.validation.uids)
        people = [set(table.column("participant_id")) for table in (held_out.train, held_out.validation)]
        assert not people[0] & people[1]
    assert asked == set(official.train.uids)
    assert not asked & set(official.validation.uids)
    with pytest.raises(ConfigError, match="fold=2"):
        load_benchmark(replace(experiment.dataset, num_folds=2, fold=2))


def test_segments_with_nothing_to_see_are_kept_for_the_prior(experiment: ExperimentConfig):
    far = replace(experiment, protocol=AnticipationConfig(tau_a_s=20.0, tau_o_s=4.0, fps=1.0))
    data = build_data(far)
    _, asked = build_asked(far, "validation")
    assert len(asked.blind) > 0
    assert len(asked.blind) + len(asked.views[0]) == len(asked.segments) == len(data.benchmark.validation)
    assert torch.equal(asked.views[0][0]["clip"], data.validation[0]["clip"])
