"""Stored features through configuration, training and evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_examples import MADE_BY

from sgear.errors import ConfigError, FeatureError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, load_features
from sgear.experiment.evaluate import evaluate_run
from sgear.experiment.train import train_run
from sgear.features import FeatureStoreWriter, LmdbFeatures, LmdbLayout, MultiFeatures
from sgear.features.lmdb_export import export_store
from sgear.kitchen import KitchenConfig, build_kitchen, load_kitchen_features

KITCHEN = KitchenConfig(
    num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=10
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A kitchen whose own features also lie in a store, in an LMDB, and in a store of one half of the width."""
    folder = tmp_path_factory.mktemp("stored")
    build_kitchen(folder / "kitchen", KITCHEN, num_processes=1, with_videos=False)
    table = load_kitchen_features(folder / "kitchen")
    features = folder / "kitchen" / "features"
    for name, kept in (("rgb", slice(None)), ("flow", slice(0, 16))):
        writer = FeatureStoreWriter(
            features / name, MADE_BY, width=table[table.video_ids[0]].features[:, kept].shape[1]
        )
        for video_id in table.video_ids:
            writer.write(video_id, table[video_id].times_s, table[video_id].features[:, kept])
        store = writer.finish()
        export_store(store, folder / "lmdb" / name, layout=LmdbLayout(fps=4.0))
    return folder


def experiment(root: Path, features: str, width: int, *overrides: str):
    return compose_experiment(
        [
            "experiment=smoke/kitchen",
            "name=test",
            f"output_root={root}",
            f"dataset.root={root / 'kitchen'}",
            f"source.features={features}",
            f"model.encoder.feature_dim={width}",
            "optim.epochs=1",
            "runtime.device=cpu",
            *overrides,
        ]
    )


def test_training_on_a_store_equals_training_on_the_same_features_in_memory(root, tmp_path):
    scores = []
    for name, features in (
        ("memory", "oracle"),
        ("store", "rgb"),
        ("path", str(root / "kitchen" / "features" / "rgb")),
    ):
        config = experiment(tmp_path, features, 64, f"name={name}", f"dataset.root={root / 'kitchen'}")
        scores.append(json.loads(train_run(config).report.read_text())["scores"])
    assert scores[0] == scores[1] == scores[2]
    assert evaluate_run(tmp_path / "store")["scores"] == scores[0]


def test_modalities_are_joined_and_found_under_their_roots(root):
    config = experiment(root, "rgb+flow", 80, f"source.feature_roots=[{root / 'lmdb'}]", "source.lmdb_fps=4")
    data = build_data(config)
    assert isinstance(data.features, MultiFeatures)
    assert data.features.widths == {"rgb": 64, "flow": 16}
    assert all(isinstance(table, LmdbFeatures) for table in data.features.modalities.values())
    clip = data.validation[0]["clip"].numpy()
    assert np.array_equal(clip[:, 64:], clip[:, :16])
    assert clip.any()


def test_features_in_memory_and_on_disk_are_joined(root):
    clip = build_data(experiment(root, "oracle+flow", 80)).validation[0]["clip"].numpy()
    assert np.array_equal(clip[:, 64:], clip[:, :16])


def test_another_width_is_an_error(root):
    with pytest.raises(ConfigError, match=r"feature_dim=64, but the features 'rgb\+flow' are 80 wide; set it to 80"):
        build_data(experiment(root, "rgb+flow", 64))


def test_features_that_are_nowhere_are_an_error(root):
    with pytest.raises(FeatureError, match=r"'obj' were not found: .*kitchen/features/obj"):
        build_data(experiment(root, "rgb+obj", 64))


@pytest.mark.parametrize("features", ["''", "rgb+", "rgb+rgb"])
def test_empty_and_repeated_names_are_errors(root, features):
    with pytest.raises(ConfigError, match="must name features"):
        build_data(experiment(root, features, 64))


def test_missing_videos_are_counted_before_training(root, tmp_path):
    table = load_kitchen_features(root / "kitchen")
    writer = FeatureStoreWriter(tmp_path / "part", MADE_BY, width=64)
    for video_id in table.video_ids[:2]:
        writer.write(video_id, table[video_id].times_s, table[video_id].features)
    writer.finish()
    with pytest.raises(FeatureError, match="no features of 3 of 5 annotated videos, first"):
        build_data(experiment(root, str(tmp_path / "part"), 64))
    with pytest.raises(FeatureError, match=r"has no features of modality part \(it has rgb\)"):
        build_data(experiment(root, "rgb+part", 128, f"source.feature_roots=[{tmp_path}]"))


@pytest.mark.parametrize("setting", ["source.confusion=0.5", "model.encoder.recogniser=true"])
def test_what_needs_all_rows_at_once_refuses_features_on_disk(root, setting, tmp_path):
    config = experiment(tmp_path, "rgb", 64, f"dataset.root={root / 'kitchen'}", setting)
    with pytest.raises(ConfigError, match=f"{setting} reads all rows .* needs features in memory"):
        train_run(config)
    with pytest.raises(ConfigError, match="needs features in memory"):
        load_features(config)


def test_feature_noise_takes_its_scale_from_the_store(root, tmp_path):
    settings = [f"dataset.root={root / 'kitchen'}", "model.encoder.feature_noise=0.1"]
    assert train_run(experiment(tmp_path, "rgb", 64, *settings)).report.is_file()


def test_settings_of_lmdbs_without_an_lmdb_have_no_effect(root):
    with pytest.raises(ConfigError, match=r"source\.lmdb_fps=4\.0 has no effect: source\.features='rgb' is no LMDB"):
        build_data(experiment(root, "rgb", 64, "source.lmdb_fps=4"))
    with pytest.raises(ConfigError, match=r"source\.lmdb_key='frame': key must look like"):
        build_data(experiment(root, str(root / "lmdb" / "rgb"), 64, "source.lmdb_key=frame"))


def test_settings_of_stored_features_have_no_effect_on_videos():
    with pytest.raises(ConfigError, match=r"source\.kind=video has no setting source\.feature_roots"):
        compose_experiment(["experiment=kitchen/sgear", "source.feature_roots=[x]"])


@pytest.mark.parametrize("features", ["torn", "torn+rgb"])
def test_a_model_on_features_of_an_encoder_that_skipped_clips_is_no_benchmark_number(root, features, tmp_path):
    table = load_kitchen_features(root / "kitchen")
    made_by = replace(MADE_BY, skipped={"train": {"k_7": "torn video"}, "validation": {"k_9": "no video"}})
    writer = FeatureStoreWriter(tmp_path / "torn", made_by, width=64)
    for video_id in table.video_ids:
        writer.write(video_id, table[video_id].times_s, table[video_id].features)
    writer.finish()
    width = 64 * len(features.split("+"))
    settings = [f"dataset.root={root / 'kitchen'}", f"source.feature_roots=[{tmp_path}]"]
    run = train_run(experiment(tmp_path, features, width, *settings))
    for report in (json.loads(run.report.read_text()), evaluate_run(run.path)):
        assert report["is_benchmark"] is False
        assert report["skipped"] == {
            "train of features torn": {"k_7": "torn video"},
            "validation of features torn": {"k_9": "no video"},
        }
