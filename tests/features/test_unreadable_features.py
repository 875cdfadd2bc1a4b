"""Runs over stored features with holes: they stop there, or list what they left out, from training to submission."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_examples import MADE_BY, make_lmdb

from sgear.errors import ConfigError, FeatureError, FeatureWidthError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.network import build_network, build_objective
from sgear.experiment.schema import DatasetConfig, ExperimentConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.features import FeatureStoreWriter
from sgear.kitchen import KitchenConfig, build_kitchen, load_kitchen_features
from sgear.models import model_config
from sgear.models.encoders import FeatureEncoder
from sgear.prototypes import VisualPrototypes
from sgear.training.loop import fit
from sgear.training.run import RunDirectory, read_json

KITCHEN = KitchenConfig(
    num_train_videos=4, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=8
)
LMDB_FPS, GAP_S = 4.0, 0.5
HOLE_S = (8.0, 11.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("holes") / "kitchen"
    build_kitchen(folder, KITCHEN, num_processes=1, with_videos=False)
    return folder


@pytest.fixture(scope="module")
def benchmark(root):
    return load_benchmark(DatasetConfig(name="kitchen", root=str(root)))


@pytest.fixture(scope="module")
def partial_store(root, benchmark) -> str:
    """A store that lacks the first training video; returns the video."""
    table, lost = load_kitchen_features(root), benchmark.train.video_ids[0]
    writer = FeatureStoreWriter(root / "features" / "partial", MADE_BY, width=table.width)
    for video_id in table.video_ids:
        if video_id != lost:
            writer.write(video_id, table[video_id].times_s, table[video_id].features)
    writer.finish()
    return lost


@pytest.fixture(scope="module")
def holed_lmdb(root, benchmark, tmp_path_factory) -> Path:
    """An LMDB in which one training and one validation video lack the keys of some seconds."""
    table = load_kitchen_features(root)
    entries = {}
    for video_id in table.video_ids:
        for t_s, row in zip(table[video_id].times_s, table[video_id].features, strict=True):
            if video_id not in holed_videos(benchmark) or not HOLE_S[0] <= t_s < HOLE_S[1]:
                entries[f"{video_id}_frame_{round(t_s * LMDB_FPS):010d}.jpg"] = row.tobytes()
    return make_lmdb(tmp_path_factory.mktemp("lmdb") / "rgb", entries)


def holed_videos(benchmark) -> set[str]:
    return {benchmark.train.video_ids[1], benchmark.validation.video_ids[0]}


def experiment(root: Path, out: Path, features: str, *changes: str) -> ExperimentConfig:
    return compose_experiment(
        [
            "experiment=smoke/kitchen",
            "name=run",
            f"output_root={out}",
            f"dataset.root={root}",
            f"source.features={features}",
            "optim.epochs=2",
            "runtime.device=cpu",
            *changes,
        ]
    )


def of_lmdb(root: Path, out: Path, lmdb: Path, *changes: str) -> ExperimentConfig:
    layout = [f"source.lmdb_fps={LMDB_FPS}", f"source.lmdb_max_gap_s={GAP_S}"]
    return experiment(root, out, str(lmdb), *layout, *changes)


def seen_uids(segments, video_id: str) -> set[str]:
    return {segment.uid for segment in segments.of_video(video_id) if segment.start_s - 1.0 >= -1e-6}


def test_a_store_without_a_video_stops_a_run_before_it_begins(root, partial_store, tmp_path):
    with pytest.raises(FeatureError, match=rf"no features of 1 of 6.*{partial_store!r}.*source\.on_error=skip"):
        train_run(experiment(root, tmp_path, "partial"))
    assert not (tmp_path / "run").exists()


def test_skipping_leaves_out_exactly_the_segments_of_the_missing_video(root, partial_store, benchmark, tmp_path):
    report = read_json(train_run(experiment(root, tmp_path, "partial", "source.on_error=skip")).report)
    assert report["is_benchmark"] is False
    assert {split: set(reasons) for split, reasons in report["skipped"].items()} == {
        "train": seen_uids(benchmark.train, partial_store)
    }
    assert report["num_unreadable"] == 0
    assert report["num_evaluated"] == report["num_asked"]


def test_missing_keys_touch_the_windows_that_ask_for_them_and_no_others(root, benchmark, holed_lmdb, tmp_path):
    expected: dict[str, set[str]] = {"train": set(), "validation": set()}
    last_there = int(HOLE_S[0] * LMDB_FPS) - 1
    reach = int(GAP_S * LMDB_FPS)
    for split, segments in (("train", benchmark.train), ("validation", benchmark.validation)):
        for video_id in holed_videos(benchmark) & set(segments.video_ids):
            for segment in segments.of_video(video_id):
                instants_s = np.array([segment.start_s - 1.0 - back for back in range(8)])
                asked = np.floor((instants_s[instants_s > -1e-6] + 1e-6) * LMDB_FPS)
                if ((asked > last_there + reach) & (asked < HOLE_S[1] * LMDB_FPS)).any():
                    expected[split].add(segment.uid)
    assert expected["train"]
    assert expected["validation"]
    report = read_json(train_run(of_lmdb(root, tmp_path, holed_lmdb, "source.on_error=skip")).report)
    assert {split: set(reasons) for split, reasons in report["skipped"].items()} == expected
    assert report["num_unreadable"] == len(expected["validation"])
    assert all("is missing" in reason for split in report["skipped"].values() for reason in split.values())


def test_the_first_missing_key_stops_a_run_with_segment_key_and_instant(root, holed_lmdb, tmp_path):
    with pytest.raises(FeatureError, match=r"segment '.*key '.*_frame_.*\(t = .*source\.on_error=skip"):
        train_run(of_lmdb(root, tmp_path, holed_lmdb))
    assert not (tmp_path / "run" / "report.json").exists()


def test_rows_of_another_width_stop_a_run_that_skips(root, holed_lmdb, benchmark, tmp_path):
    import lmdb

    mixed = Path(shutil.copytree(holed_lmdb, tmp_path / "mixed"))
    video_id = benchmark.train.video_ids[2]
    with lmdb.open(str(mixed), lock=False) as environment, environment.begin(write=True) as transaction:
        for number in range(8, 60):
            transaction.put(f"{video_id}_frame_{number:010d}.jpg".encode(), np.zeros(3, np.float32).tobytes())
    with pytest.raises(FeatureWidthError, match="mixes features of several widths"):
        train_run(of_lmdb(root, tmp_path, mixed, "source.on_error=skip"))


def test_a_truncated_file_of_a_store_is_left_out_like_a_missing_one(root, partial_store, benchmark, tmp_path):
    kitchen = Path(shutil.copytree(root, tmp_path / "kitchen"))
    cut = benchmark.validation.video_ids[1]
    path = next((kitchen / "features" / "partial").rglob(f"{cut}.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    data = build_data(experiment(kitchen, tmp_path, "partial", "source.on_error=skip"))
    seen = data.validation
    unreadable = {seen.segments.uids[row] for row in range(len(seen)) if seen[row]["unreadable"]}
    assert unreadable == seen_uids(benchmark.validation, cut)
    with pytest.raises(FeatureError):
        build_data(experiment(kitchen, tmp_path, "partial"))


def test_a_store_of_other_videos_is_an_error_even_when_skipping(root, tmp_path):
    table = load_kitchen_features(root)
    writer = FeatureStoreWriter(tmp_path / "other", MADE_BY, width=table.width)
    video = table[table.video_ids[0]]
    writer.write("P99_01", video.times_s, video.features)
    writer.finish()
    with pytest.raises(FeatureError, match="no features of 6 of 6"):
        build_data(experiment(root, tmp_path, str(tmp_path / "other"), "source.on_error=skip"))


def test_noise_is_scaled_by_the_videos_that_are_there(root, partial_store, benchmark, tmp_path):
    config = experiment(root, tmp_path, "partial", "source.on_error=skip", "model.encoder.feature_noise=0.1")
    data = build_data(config)
    model = build_network(config, data).model
    there = [video_id for video_id in benchmark.train.video_ids if video_id != partial_store]
    assert data.features is not None
    assert isinstance(model.encoder, FeatureEncoder)
    expected = data.features.standard_deviation(there)
    assert np.array_equal(model.encoder.feature_scale.numpy(), expected)


def test_a_resumed_run_still_lists_what_earlier_epochs_could_not_read(root, partial_store, benchmark, tmp_path):
    config = experiment(root, tmp_path, "partial", "source.on_error=skip", "optim.epochs=3")
    config = replace(config, runtime=replace(config.runtime, checkpoint_every=100, evaluate_every=1))
    run = RunDirectory(tmp_path / "run")
    calls = []

    def killed_after_an_epoch(model, accelerator):
        calls.append(model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"top1": 0.0}

    def train(features: str, *, resume: bool, evaluate):
        asked = replace(config, source=replace(config.source, features=features))
        data = build_data(asked)
        model = build_network(asked, data).model
        runtime = replace(config.runtime, resume=resume)
        objective = build_objective(asked, data)
        return fit(
            model, objective, data.train, optim=config.optim, runtime=runtime, seed=0, run=run, evaluate=evaluate
        )

    run.path.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train("partial", resume=False, evaluate=killed_after_an_epoch)
    resumed = train("oracle", resume=True, evaluate=None)
    assert set(resumed.skipped) == seen_uids(benchmark.train, partial_store)


def test_prototypes_of_a_run_with_skipped_clips_say_so(root, partial_store, benchmark, tmp_path):
    config = experiment(
        root,
        tmp_path,
        "partial",
        "source.on_error=skip",
        "protocol.kind=recognition",
        "objective.feat=0",
        "objective.detach_feature_target=false",
    )
    run = train_run(config)
    made = visual_prototypes(run.path, tmp_path / "visual.safetensors")
    lost = set(benchmark.train.of_video(partial_store).uids)
    assert set(VisualPrototypes.load(tmp_path / "visual.safetensors").skipped) == lost
    assert int(made.num_exemplars.sum()) == len(benchmark.train) - len(lost)


def test_a_baseline_learns_without_what_cannot_be_read_and_says_so(root, partial_store, benchmark, tmp_path):
    config = experiment(root, tmp_path, "partial", "source.on_error=skip")
    model = model_config(name="pooled", max_steps=config.model.max_steps, encoder=config.model.encoder)
    report = read_json(train_run(replace(config, model=model)).report)
    assert report["is_benchmark"] is False
    assert set(benchmark.train.of_video(partial_store).uids) <= set(report["skipped"]["train"])


def test_a_resumed_run_may_change_on_error_and_nothing_else_of_its_source(root, tmp_path):
    train_run(experiment(root, tmp_path, "oracle"))
    train_run(experiment(root, tmp_path, "oracle", "runtime.resume=true", "source.on_error=skip"))
    with pytest.raises((ConfigError, RunError), match=r"source\.pool_s was 0\.0"):
        train_run(experiment(root, tmp_path, "oracle", "runtime.resume=true", "source.pool_s=0.5"))
