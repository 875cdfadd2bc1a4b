"""What a run may start from: nothing that was learnt from what it is validated or tested on, and nothing twice."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_recipes import learnt_from, notes_of, own_data, small_kitchen

from sgear.datasets import Benchmark
from sgear.errors import ConfigError, PrototypeError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.leakage import lineage_of_training, require_unseen
from sgear.experiment.network import build_network
from sgear.experiment.schema import DatasetConfig, ExperimentConfig
from sgear.experiment.train import train_run, visual_prototypes_of_features
from sgear.features import FeatureStore, FeatureStoreWriter
from sgear.features.store_index import Provenance
from sgear.models.pretrained import load_model, read_lineage
from sgear.prototypes import class_means

KITCHEN = {"num_train_videos": 4, "num_validation_videos": 2, "num_participants": 4, "num_unseen_participants": 1}
KITCHEN |= {"actions_per_video": 12}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("starts")
    small_kitchen(folder / "kitchen", with_videos=False, **KITCHEN)
    return folder


def kitchen(root: Path, **changes) -> DatasetConfig:
    return DatasetConfig(name="kitchen", root=str(root / "kitchen"), **changes)


def config_of(root: Path, name: str, *overrides: str) -> ExperimentConfig:
    settings = [f"dataset.root={root / 'kitchen'}", f"output_root={root}", f"name={name}", "optim.epochs=1"]
    settings += ["runtime.device=cpu", "model.width=64", "model.decoder.width=32", *overrides]
    return compose_experiment(["experiment=smoke/kitchen", *settings])


@pytest.fixture(scope="module")
def fold_run(root) -> Path:
    return train_run(config_of(root, "fold-0", "dataset.num_folds=2", "dataset.fold=0")).path


def test_prototypes_of_another_fold_are_refused_with_both_sides_and_the_remedy(root):
    file = root / "visual-0.safetensors"
    visual_prototypes_of_features(kitchen(root, num_folds=2, fold=0), "oracle", file)
    same = config_of(root, "x", f"init.visual_prototypes={file}", "dataset.num_folds=2", "dataset.fold=0")
    notes = build_network(same, build_data(same)).notes
    assert any(note.startswith("prototypes: ") and note.endswith("made from siblings") for note in notes)
    other = replace(same, dataset=replace(same.dataset, fold=1))
    held_out = load_benchmark(other.dataset).validation.video_ids
    message = (
        rf"init\.visual_prototypes=.*visual-0\.safetensors was learnt from {len(held_out)} of the {len(held_out)} "
        rf"videos .*{held_out[0]}.*made on kitchen, split 1, fold 0 of 2, and this run is of kitchen, split 1, "
        r"fold 1 of 2\. "
        r"Make it on the training videos of this run \(dataset\.name=kitchen .*dataset\.fold=1\), or start without it"
    )
    with pytest.raises(ConfigError, match=message):
        train_run(other)
    assert not (root / "x").exists()


def test_what_is_learnt_from_fewer_videos_may_start_the_whole_and_not_the_other_way_round(root, tmp_path):
    whole, fold = kitchen(root), kitchen(root, num_folds=2, fold=1)
    assert notes_of(whole, visual_prototypes=learnt_from(fold, tmp_path / "fold.safetensors")) == []
    with pytest.raises(
        ConfigError, match=r"made on kitchen, split 1, and this run is of kitchen, split 1, fold 1 of 2"
    ):
        notes_of(fold, visual_prototypes=learnt_from(whole, tmp_path / "whole.safetensors"))


@pytest.mark.parametrize("key", ["run", "branches"])
def test_a_run_of_another_fold_is_refused(root, fold_run, key):
    init = {"run": str(fold_run)} if key == "run" else {"branches": [str(fold_run)]}
    assert notes_of(kitchen(root, num_folds=2, fold=0), **init) == []
    with pytest.raises(ConfigError, match=rf"init\.{key}=.*fold-0 was learnt from \d of the \d videos"):
        notes_of(kitchen(root, num_folds=2, fold=1), **init)


def store_of(folder: Path, benchmark: Benchmark, **made) -> FeatureStore:
    """Write features of all videos."""
    provenance = Provenance(**{"weights": "0123", "preprocessing": "", "fps": 4.0, **made})
    writer = FeatureStoreWriter(folder, provenance, width=4)
    for video_id in {*benchmark.train.video_ids, *benchmark.validation.video_ids}:
        writer.write(video_id, np.arange(4) / 4, np.ones((4, 4), np.float32))
    return writer.finish()


def test_features_that_a_run_extracted_are_held_against_what_the_run_was_learnt_from(root, fold_run, tmp_path):
    learnt = read_lineage(fold_run / "model")
    same, other = kitchen(root, num_folds=2, fold=0), kitchen(root, num_folds=2, fold=1)
    store = store_of(tmp_path / "own", load_benchmark(same), encoder="vit of run fold-0", lineage=learnt.to_dict())
    assert require_unseen(ExperimentConfig(dataset=same), load_benchmark(same), store) == []
    with pytest.raises(
        ConfigError, match=r"source\.features=.*own was learnt from .* this run is of kitchen, split 1, fold 1"
    ):
        require_unseen(ExperimentConfig(dataset=other), load_benchmark(other), store)
    lineage = lineage_of_training(ExperimentConfig(dataset=kitchen(root)), load_benchmark(same), store)
    assert lineage.parts[1:] == learnt.parts
    old = store_of(tmp_path / "old", load_benchmark(same), encoder="vit of run r")
    (note,) = require_unseen(ExperimentConfig(dataset=other), load_benchmark(other), old)
    assert "vit of run r does not say what it was learnt from" in note
    public = store_of(tmp_path / "public", load_benchmark(same), encoder="resnet50")
    assert require_unseen(ExperimentConfig(dataset=other), load_benchmark(other), public) == []
    foreign = store_of(tmp_path / "foreign", load_benchmark(same), encoder="RULSTM rgb", weights="")
    (note,) = require_unseen(ExperimentConfig(dataset=other), load_benchmark(other), foreign)
    assert "the encoder of RULSTM rgb does not say what it was learnt from" in note


def test_a_trained_model_says_what_it_was_learnt_from_and_what_its_start_was(root, fold_run):
    own = read_lineage(fold_run / "model")
    benchmark = load_benchmark(kitchen(root, num_folds=2, fold=0))
    assert [part.name for part in own.parts] == ["kitchen, split 1, fold 0 of 2"]
    assert sorted(own.parts[0].videos) == sorted(benchmark.train.video_ids)
    assert load_model(fold_run / "model").lineage == own
    next_run = config_of(root, "next", f"init.run={fold_run}", "init.blocks=[decoder]")
    lineage = lineage_of_training(next_run, load_benchmark(next_run.dataset))
    assert [part.name for part in lineage.parts] == ["kitchen, split 1", "kitchen, split 1, fold 0 of 2"]
    # The same part twice is one.
    again = replace(next_run, dataset=kitchen(root, num_folds=2, fold=0))
    assert len(lineage_of_training(again, benchmark).parts) == 1


def test_starts_without_a_record_are_let_through_with_a_note(root, fold_run, tmp_path):
    model = tmp_path / "old" / "model"
    shutil.copytree(fold_run, tmp_path / "old")
    description = json.loads((model / "model.json").read_text())
    del description["lineage"]
    (model / "model.json").write_text(json.dumps(description))
    assert load_model(model).lineage.parts == ()
    (note,) = notes_of(kitchen(root, num_folds=2, fold=1), run=str(tmp_path / "old"))
    assert "does not say what it was learnt from, so it cannot be checked" in note
    benchmark, file = load_benchmark(kitchen(root)), tmp_path / "v.safetensors"
    number = benchmark.taxonomy.num_actions
    class_means(torch.ones(number, 4), torch.arange(number), benchmark.taxonomy, run="r").save(file)
    (note,) = notes_of(kitchen(root), visual_prototypes=str(file))
    assert note.startswith("from init.visual_prototypes=")
    description["lineage"] = {"parts": [{"dataset": "kitchen"}], "gaps": []}
    (model / "model.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match=r"model\.json: damaged"):
        read_lineage(model)


def test_videos_of_another_kitchen_are_not_taken_for_ours_by_their_names_nor_for_others_without_a_word(root, tmp_path):
    small_kitchen(tmp_path / "kitchen", with_videos=False, **KITCHEN, seed=9)
    other = kitchen(tmp_path, num_folds=2, fold=0)
    ours = kitchen(root, num_folds=2, fold=1)
    assert set(load_benchmark(other).train.video_ids) & set(load_benchmark(ours).validation.video_ids)
    (note,) = notes_of(ours, visual_prototypes=learnt_from(other, tmp_path / "v.safetensors"))
    assert "2 of the 2 videos of kitchen, split 1, fold 0 of 2 that it was learnt from" in note
    assert "cannot be told from those held out here by their content" in note


def test_a_video_that_a_data_set_cuts_is_judged_by_its_segments(tmp_path):
    def cut(name: str, *splits: str) -> DatasetConfig:
        rows = [("video", split, 10 * i, 10 * i + 5, ["cut", "mix", "eat"][i]) for i, split in enumerate(splits)]
        return own_data(tmp_path / name, rows)

    first, second = cut("a", "train", "train", "validation"), cut("b", "train", "validation", "train")
    file = learnt_from(first, tmp_path / "v.safetensors")
    assert notes_of(first, visual_prototypes=file) == []
    with pytest.raises(ConfigError, match=r"was learnt from 1 segments that .* \(video at 10\.0-15\.0 s\)"):
        notes_of(second, visual_prototypes=file)


@pytest.mark.data
@pytest.mark.parametrize(
    ("made_on", "asked", "message"),
    [
        (("salads50-tcn", 1), ("salads50-tcn", 1), None),
        (("salads50-tcn", 1), ("salads50-tcn", 2), r"10 of the 10 videos"),
        (("salads50", 3), ("salads50-tcn", 1), r"8 of the 10 videos"),
        (("salads50-tcn", 1), ("salads50-avt", 2), r"8 of the 10 videos"),
        (("egtea", 1), ("egtea", 1), None),
        (("egtea", 1), ("rulstm-egtea", 1), None),
        (("egtea", 1), ("egtea", 2), r"\d+ segments"),
        (("egtea", 1), ("rulstm-egtea", 2), r"\d+ segments"),
        (("epic100", 1), ("rulstm-ek100", 1), None),
        (("epic100", 1), ("epic55", 1), r"\d+ of the \d+ videos"),
        (("epic100", 1), ("egtea", 1), None),
    ],
)
def test_splits_of_real_data_sets_are_told_apart(request, real_data, monkeypatch, tmp_path, made_on, asked, message):
    folder = request.getfixturevalue("salads") if made_on[0].startswith("salads50") else real_data
    monkeypatch.setenv("SGEAR_DATA", str(folder))
    source, target = (DatasetConfig(name=name, split=split) for name, split in (made_on, asked))
    file = learnt_from(source, tmp_path / "v.safetensors", width=2)
    if message is None:
        assert notes_of(target, visual_prototypes=file) == []
    else:
        with pytest.raises(ConfigError, match=rf"was learnt from {message} that this run is validated or tested on"):
            notes_of(target, visual_prototypes=file)


def test_a_file_of_the_wrong_kind_is_told_where_it_goes(root, tmp_path):
    file = learnt_from(kitchen(root), tmp_path / "v.safetensors")
    config = config_of(root, "x", f"init.language_prototypes={file}", "objective.sem=1")
    with pytest.raises(PrototypeError, match=r"got visual prototypes .* give this file as init\.visual_prototypes"):
        train_run(config)
