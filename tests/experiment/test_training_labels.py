"""Training sees the labels of training segments and no others, also where a split cuts inside videos.

Each law relabels every held-out segment: what training sees and makes must stay as it was, to the bit.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from tiny_recipes import own_data, small_kitchen, write_features

from sgear.datasets import Benchmark
from sgear.experiment import build, compose_experiment
from sgear.experiment.build import Data, build_data, build_feature_data, load_benchmark
from sgear.experiment.network import build_network
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.features import FeatureTable, VideoFeatures
from sgear.predictions import Predictions
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

SPLITS = [
    *[(name, 1) for name in ("epic100", "epic55", "rulstm-ek55", "rulstm-ek100")],
    *[(name, split) for name in ("egtea", "rulstm-egtea") for split in (1, 2, 3)],
    *[(name, 1) for name in ("salads50", "salads50-avt", "salads50-tcn")],
]
CUT = {"egtea", "rulstm-egtea"}
"""Data sets whose splits cut inside videos."""
WIDTH = 6
SHORT = "model.width=16 optim.epochs=2 optim.warmup_epochs=0"
TINY = (
    f"{SHORT} source.features=random model.encoder.feature_dim={WIDTH} model.decoder.width=16 "
    "model.decoder.num_layers=1 model.decoder.num_heads=2 runtime.precision=fp32 runtime.num_workers=0"
)
COUNTED = "experiment=egtea/last_action dataset.name=csv"
MODELS = {
    "avt": f"experiment=own/avt_features {TINY} objective.past=1.0 objective.next=1.0 source.next_within_s=20",
    "recognition": f"experiment=own/recognition_features {TINY}",
    "last_action": COUNTED,
    "frequency": f"{COUNTED} model.name=frequency",
    "past": f"experiment=epic100/past_composed dataset.name=csv source.noise=0.3 {SHORT}",
}
ORACLES = ("last_action", "past")


def relabelled(table: SegmentTable, is_held_out: pl.Expr) -> SegmentTable:
    """The same segments, those held out with the next class of the vocabulary."""
    actions = table.taxonomy.action_pairs
    verbs, nouns = (pl.Series([pair[side] for pair in actions], dtype=pl.Int64) for side in (0, 1))
    moved = (pl.col("action_id") + 1) % len(actions)
    ids = {"action_id": moved, "verb_id": pl.lit(verbs).gather(moved), "noun_id": pl.lit(nouns).gather(moved)}
    chosen = is_held_out & (pl.col("action_id") >= 0)
    frame = table.frame.with_columns(
        pl.when(chosen).then(value).otherwise(pl.col(name)).alias(name) for name, value in ids.items()
    )
    return SegmentTable(frame, table.taxonomy, origin=table.origin)


def with_other_labels_held_out(benchmark: Benchmark) -> Benchmark:
    """The same data set, every segment outside of training labelled otherwise."""
    trained, every = benchmark.train.video_ids, pl.lit(True)
    return replace(
        benchmark,
        validation=relabelled(benchmark.validation, every),
        tests={name: relabelled(table, every) for name, table in benchmark.tests.items()},
        unscored=benchmark.unscored and relabelled(benchmark.unscored, ~pl.col("video_id").is_in(trained)),
    )


def few_videos(benchmark: Benchmark) -> Benchmark:
    """All segments of a few videos: of those on both sides, or where splits never cut a video, of either side."""
    train, held_out = benchmark.train.video_ids, benchmark.validation.video_ids
    both = [video_id for video_id in train if video_id in set(held_out)]
    is_chosen = pl.col("video_id").is_in(both[:5] or [*train[:6], *held_out[:4]])
    return replace(
        benchmark,
        train=benchmark.train.filter(is_chosen),
        validation=benchmark.validation.filter(is_chosen),
        unscored=benchmark.unscored and benchmark.unscored.filter(is_chosen),
    )


def labels_in_training(data: Data, video_id: str) -> NDArray[np.int64]:
    """The action at, and the one after, the middle of each segment of a video, as training clips are given them."""
    segments = data.benchmark.timeline.of_video(video_id)
    middles_s = np.sort((segments.column("start_s") + segments.column("stop_s")) / 2)
    labels = data.train.labels
    following = labels.next_after(video_id, middles_s, earliest_s=0.0, latest_s=9.0)
    return np.stack([labels.at(video_id, middles_s), following])


def assert_no_label_of_a_held_out_segment_reaches_training(monkeypatch, config: ExperimentConfig, *, is_cut: bool):
    benchmark = load_benchmark(config.dataset)
    assert bool(set(benchmark.train.video_ids) & set(benchmark.validation.video_ids)) == is_cut
    few, built = few_videos(benchmark), []
    for each in (few, with_other_labels_held_out(few)):
        monkeypatch.setattr(build, "load_benchmark", lambda _, each=each: each)
        built.append(build_data(config))
    clean, other = built
    assert not np.array_equal(clean.asked.segments.column("action_id"), other.asked.segments.column("action_id"))
    labels, again = (
        [labels_in_training(data, video_id) for video_id in few.train.video_ids] for data in (clean, other)
    )
    assert all(np.array_equal(one, two) for one, two in zip(labels, again, strict=True))
    # What only held-out segments cover has no label.
    assert (min(each[0].min() for each in labels) < 0) == is_cut
    for row in range(0, len(clean.train), 7):
        one, two = clean.train[row], other.train[row]
        assert all(torch.equal(one[key], two[key]) for key in ("clip", "step_labels", "next_labels", "target"))


@pytest.mark.data
# The annotated past shows all labels that training may see; the newest of them is a part of that.
@pytest.mark.parametrize(
    ("name", "split", "experiment"),
    [(*each, "epic100/past_composed") for each in SPLITS] + [(*each, "egtea/last_action") for each in SPLITS[::4]],
)
def test_no_label_of_a_held_out_segment_of_real_data_reaches_training(request, monkeypatch, name, split, experiment):
    folder = request.getfixturevalue("salads" if name.startswith("salads50") else "real_data")
    monkeypatch.setenv("SGEAR_DATA", str(folder))
    chosen_split = [f"dataset.split={split}"] if split > 1 else []
    config = compose_experiment([f"experiment={experiment}", f"dataset.name={name}", *chosen_split])
    assert_no_label_of_a_held_out_segment_reaches_training(monkeypatch, config, is_cut=name in CUT)


def test_no_label_of_a_held_out_segment_of_the_kitchen_reaches_training(monkeypatch, tmp_path):
    small_kitchen(tmp_path, num_train_videos=3, num_validation_videos=2, with_videos=False)
    config = compose_experiment(["experiment=kitchen/last_action", f"dataset.root={tmp_path}"])
    assert_no_label_of_a_held_out_segment_reaches_training(monkeypatch, config, is_cut=False)


# --- own data, divided by rows --------------------------------------------------------------------------------------


def divided(folder: Path, *, held_out: tuple[str, ...] = ("cut", "mix", "eat")) -> str:
    """Three videos whose rows take turns in training and validation; labels of validation as given."""
    names, rows = ("cut", "mix", "eat"), []
    for shift, video in enumerate("abc"):
        for index in range(12):
            label, split = (held_out[index % 3], "validation") if index % 2 else (names[(index + shift) % 3], "train")
            rows.append((video, split, 5 * index + 3, 5 * index + 8, label))
    data = own_data(folder, rows)
    write_features(Path(data.root) / "features" / "random", dict.fromkeys("abc", 65.0), width=WIDTH)
    return data.root


def test_no_label_of_a_held_out_row_reaches_training(monkeypatch, tmp_path):
    config = compose_experiment([*COUNTED.split(), f"dataset.root={divided(tmp_path / 'own')}"])
    assert_no_label_of_a_held_out_segment_reaches_training(monkeypatch, config, is_cut=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_gives_the_same_model_whatever_held_out_rows_are_called(name, tmp_path):
    runs, prototypes = [], []
    for folder, held_out in (("right", ("cut", "mix", "eat")), ("other", ("mix", "eat", "cut"))):
        root = divided(tmp_path / folder, held_out=held_out)
        chosen = [f"dataset.root={root}", f"output_root={tmp_path / folder}", "runtime.device=cpu"]
        runs.append(train_run(compose_experiment([*MODELS[name].split(), *chosen])))
        if name == "recognition":
            prototypes.append(visual_prototypes(runs[-1].path, tmp_path / folder / "visual.safetensors"))
    files = [
        {path.name: path.read_bytes() for path in run.model.iterdir() if "lineage" not in path.name} for run in runs
    ]
    assert files[0] == files[1]
    assert not prototypes or torch.equal(prototypes[0].vectors, prototypes[1].vectors)
    tables = [Predictions.load(run.predictions) for run in runs]
    assert not np.array_equal(tables[0].targets, tables[1].targets)
    # A model reads no label where it is evaluated; the last annotated action is an oracle of the past.
    assert name in ORACLES or np.array_equal(tables[0].logits, tables[1].logits)


def test_frame_classifier_and_class_confusion_learn_from_training_rows_alone():
    """Splits of data sets that can have them are by whole videos; the kind of split must not matter."""
    taxonomy = Taxonomy.from_labels(["cut", "mix", "eat"])
    rows = [(f"{video}{index}", "p", video, 5.0 * index, 5.0 * index + 5) for video in "abc" for index in range(12)]
    frame = pl.DataFrame(rows, schema=["uid", "participant_id", "video_id", "start_s", "stop_s"], orient="row")
    number = pl.int_range(pl.len()) % 3
    frame = frame.with_columns(number.alias("verb_id"), number.alias("noun_id"), number.alias("action_id"))
    table = SegmentTable(frame, taxonomy, origin="made")
    is_trained = np.arange(len(table)) % 2 == 0
    benchmark = Benchmark(
        name="made", taxonomy=taxonomy, train=table.take(is_trained), validation=table.take(~is_trained)
    )
    rng = np.random.default_rng(0)
    times_s = np.arange(130) / 2
    features = FeatureTable(
        {name: VideoFeatures(times_s, rng.standard_normal((130, WIDTH), np.float32), "made") for name in "abc"}
    )
    config = compose_experiment(
        ["experiment=salads50/spatialcnn_avt", f"model.encoder.feature_dim={WIDTH}", "source.tau_a_jitter_s=0"]
    )
    weights, samples = [], []
    for each in (benchmark, with_other_labels_held_out(benchmark)):
        data = build_feature_data(config, each, features)
        weights.append(build_network(config, data).model.state_dict())
        samples.append([data.train[index] for index in range(len(data.train))])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    for one, again in zip(*samples, strict=True):
        assert all(torch.equal(one[key], again[key]) for key in ("clip", "step_labels", "next_labels"))
