"""A video stays the same video under any name and in any data set; where nobody knows, it is said."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipes import learnt_from, notes_of, own_data, small_kitchen

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.build import load_benchmark, open_stored_features
from sgear.experiment.facts import learn_facts
from sgear.experiment.leakage import lineage_of_training, require_unseen
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, FeatureSourceConfig
from sgear.experiment.train import train_run
from sgear.features import FeatureStoreWriter
from sgear.features.store_index import Provenance
from sgear.models.encoders.extraction import timm_frame_encoder
from sgear.models.pretrained import read_lineage
from sgear.segments import SegmentTable
from sgear.torchvision_guard import import_timm
from sgear.video.find import list_videos
from sgear.video.training_copy import CopySettings, make_copy, video_content


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    return small_kitchen(tmp_path_factory.mktemp("videos") / "kitchen", num_validation_videos=2)


def videos_of(root: Path) -> dict[str, Path]:
    return list_videos([root / "videos"])


def import_rows(folder: Path, segments: SegmentTable, names: Mapping[str, str], shift_s: float = 0.0) -> DatasetConfig:
    """Import segments as own training data under other names of videos, beside a validation video of their own."""
    trained = [(names.get(s.video_id, s.video_id), "train", s.start_s + shift_s, s.stop_s + shift_s) for s in segments]
    return own_data(folder, [("other", "validation", 1, 2, "cut"), *((*row, "cut") for row in trained)])


def contents_of(dataset: DatasetConfig, videos: Mapping[str, Path]) -> Mapping[str, Sequence[str]]:
    config, benchmark = ExperimentConfig(dataset=dataset), load_benchmark(dataset)
    return learn_facts(config, benchmark, list(videos), videos=videos).contents


# --- contents -------------------------------------------------------------------------------------------------------


def test_a_video_is_known_under_any_name_and_as_a_training_copy_and_told_from_every_other(kitchen, tmp_path):
    videos = videos_of(kitchen)
    digits = {video_content(path) for path in videos.values()}
    assert len(digits) == len(videos)
    first = next(iter(videos.values()))
    known = video_content(first)
    copied = Path(shutil.copy(first, tmp_path / "renamed.mkv"))
    assert video_content(copied) == known
    small, smaller = tmp_path / "small.mp4", tmp_path / "smaller.mp4"
    make_copy(first, small, CopySettings(short_side=48))
    make_copy(small, smaller, CopySettings(short_side=32, fps=5.0))
    assert video_content(small) == video_content(smaller) == known
    assert small.stat().st_size != first.stat().st_size
    assert video_content(tmp_path) == video_content(tmp_path / "none.mp4") == ""


@given(size=st.integers(1, 400_000), place=st.floats(0, 1), is_longer=st.booleans())
def test_a_change_of_size_or_at_either_end_is_another_video(tmp_path_factory, size, place, is_longer):
    path = tmp_path_factory.mktemp("bytes") / "video.mp4"
    content = bytearray(np.random.default_rng(size).bytes(size))
    path.write_bytes(content)
    before = video_content(path)
    if is_longer:
        content += b"\0"
    else:
        # At either end, or anywhere in a file that is read whole.
        edge = min(size, 1 << 16)
        at = int(place * (edge - 1))
        content[at if size % 2 else size - 1 - at] ^= 1
    path.write_bytes(content)
    assert video_content(path) != before


# --- the guard ------------------------------------------------------------------------------------------------------


def test_what_was_learnt_from_held_out_videos_under_other_names_is_refused(kitchen, tmp_path):
    ours = DatasetConfig(name="kitchen", root=str(kitchen))
    benchmark, videos = load_benchmark(ours), videos_of(kitchen)
    names = {video_id: f"clip{index}" for index, video_id in enumerate(benchmark.validation.video_ids)}
    # Times of their own, so that nothing but the videos tells.
    theirs = import_rows(tmp_path / "own", benchmark.validation, names, shift_s=0.3)
    copies = {}
    for video_id, name in names.items():
        copies[name] = tmp_path / f"{name}.mp4"
        make_copy(videos[video_id], copies[name], CopySettings(short_side=32))
    learnt = learnt_from(theirs, tmp_path / "v.safetensors", contents_of(theirs, copies))
    ours_known = contents_of(ours, videos)
    message = rf"was learnt from 2 of the 2 videos .*\({next(iter(names))}, there called clip0,.*made on csv, split 1"
    with pytest.raises(ConfigError, match=message):
        notes_of(ours, ours_known, visual_prototypes=learnt)
    # Without the videos on either side nobody knows, and that is said.
    for unknown in (
        notes_of(ours, {}, visual_prototypes=learnt),
        notes_of(ours, ours_known, visual_prototypes=learnt_from(theirs, tmp_path / "w")),
    ):
        (note,) = unknown
        assert "2 of the 2 videos of csv, split 1 that it was learnt from, first 'clip0', cannot be told" in note
    # The training videos under other names are no leak, and known not to be one.
    names = {video_id: f"clip{index}" for index, video_id in enumerate(benchmark.train.video_ids)}
    training = import_rows(tmp_path / "train", benchmark.train, names)
    known = contents_of(training, {name: videos[video_id] for video_id, name in names.items()})
    assert notes_of(ours, ours_known, visual_prototypes=learnt_from(training, tmp_path / "t"))
    assert notes_of(ours, ours_known, visual_prototypes=learnt_from(training, tmp_path / "t", known)) == []


def test_a_video_that_is_trained_on_and_held_out_under_two_names_is_refused(kitchen):
    dataset = DatasetConfig(name="kitchen", root=str(kitchen))
    benchmark, videos = load_benchmark(dataset), videos_of(kitchen)
    trained, held_out = benchmark.train.video_ids[0], benchmark.validation.video_ids[0]
    twins = contents_of(dataset, {**videos, held_out: videos[trained]})
    with pytest.raises(ConfigError, match=rf"1 videos that are held out are videos .*\({held_out} is {trained}\)"):
        require_unseen(ExperimentConfig(dataset=dataset), benchmark, contents=twins)


def test_a_held_out_segment_of_a_video_that_a_data_set_cuts_is_known_in_another_data_set_too(tmp_path):
    def cut(name: str, video: str, *splits: tuple[str, float, float]) -> DatasetConfig:
        return own_data(tmp_path / name, [(video, *split, "cut") for split in splits])

    ours = cut("a", "video", ("train", 0, 4), ("validation", 5, 9), ("train", 10, 14))
    known = {"video": ("video:0123",)}
    for index, (start, stop, is_seen) in enumerate([(5.5, 8, True), (9, 10, False), (0, 4, False), (3, 5.1, False)]):
        theirs = cut(f"b{index}", "clip", ("train", start, stop), ("validation", 20, 24))
        learnt = learnt_from(theirs, tmp_path / f"{index}", {"clip": ("video:0123",)})
        if is_seen:
            with pytest.raises(ConfigError, match=r"1 segments .*\(video at 5\.0-9\.0 s, there called clip\)"):
                notes_of(ours, known, visual_prototypes=learnt)
        else:
            assert notes_of(ours, known, visual_prototypes=learnt) == []


@pytest.mark.data
def test_epic_kitchens_under_the_name_of_own_data_is_known_by_names_and_times(real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("SGEAR_DATA", str(real_data))
    # Its times differ by frames from the official ones.
    ours, benchmark = DatasetConfig(name="rulstm-ek100"), load_benchmark(DatasetConfig(name="epic100"))
    held_out = benchmark.validation.video_ids[:3]
    rows = benchmark.validation.filter(pl.col("video_id").is_in(held_out))
    theirs = import_rows(tmp_path / "own", rows, {})
    with pytest.raises(ConfigError, match=rf"was learnt from 3 of the \d+ videos .*{held_out[0]}.*made on csv"):
        notes_of(ours, {}, visual_prototypes=learnt_from(theirs, tmp_path / "v"))
    # Other names and no videos: nobody knows.
    renamed = import_rows(tmp_path / "renamed", rows, {video_id: f"x{video_id}" for video_id in held_out})
    (note,) = notes_of(ours, {}, visual_prototypes=learnt_from(renamed, tmp_path / "w"))
    assert "3 of the 3 videos of csv" in note


def test_whole_videos_are_known_by_their_times_where_their_segments_are_not_listed(kitchen, tmp_path):
    """A kitchen that is trained on as EPIC-KITCHENS, whose record lists no segments."""
    disguised = DatasetConfig(name="epic100", root=str(kitchen / "annotations"))
    learnt = learnt_from(disguised, tmp_path / "v")
    benchmark = load_benchmark(disguised)
    ours = import_rows(tmp_path / "own", benchmark.validation, {})
    assert notes_of(ours, {}, visual_prototypes=learnt)
    rows = [(s.video_id, "validation", s.start_s, s.stop_s, "cut") for s in benchmark.train]
    ours = own_data(tmp_path / "held", [*rows, ("o", "train", 1, 2, "cut")])
    with pytest.raises(ConfigError, match=r"was learnt from 2 of the 2 videos .* made on epic100"):
        notes_of(ours, visual_prototypes=learnt)


# --- stored features and runs -----------------------------------------------------------------------------------------


MADE = Provenance(encoder="made", weights="0123", preprocessing="none", fps=4.0)


def own_features(folder: Path, names: Sequence[str], *, seed: int = 0) -> DatasetConfig:
    """Import a csv of three videos under these names, with stored features; the last one is for validation."""
    splits = ["train", "train", "validation"]
    times = [(start + 7 * index, start + 7 * index + 2) for index in range(3) for start in (4, 12)]
    data = own_data(folder, [(names[i // 2], splits[i // 2], *each, "cut") for i, each in enumerate(times)])
    writer = FeatureStoreWriter(folder / "data" / "features" / "vit", MADE, width=4)
    rng = np.random.default_rng(seed)
    for name in names:
        writer.write(name, np.arange(160) / 4, rng.standard_normal((160, 4), dtype=np.float32))
    writer.finish()
    return data


def train(dataset: DatasetConfig, out: Path, *overrides: str) -> Path:
    small = (
        "optim.epochs=1 optim.warmup_epochs=0 runtime.device=cpu model.encoder.feature_dim=4 model.width=16 "
        "model.decoder.width=16 model.decoder.num_layers=1"
    )
    where = ["experiment=own/avt_features", f"dataset.root={dataset.root}", f"output_root={out}", "name=run"]
    return train_run(compose_experiment([*where, *small.split(), *overrides])).path


def test_a_run_on_the_held_out_rows_under_another_name_is_refused_and_what_is_unknown_stands_in_the_report(tmp_path):
    ours = own_features(tmp_path / "ours", ["a", "b", "c"])
    # The rows of our third video are those of their first one.
    theirs = own_features(tmp_path / "theirs", ["x", "y", "z"], seed=1)
    store, stored = (Path(each.root) / "features" / "vit" for each in (ours, theirs))
    config = ExperimentConfig(dataset=ours, source=FeatureSourceConfig(features=str(store)))
    rows = open_stored_features(config)["c"]
    (stored / "videos" / "x.safetensors").unlink()
    writer = FeatureStoreWriter(stored, MADE, width=4)
    writer.write("x", np.arange(160) / 4, rows.read(np.arange(160) / 4)[0])
    writer.finish()
    run = train(theirs, tmp_path / "first")
    assert read_lineage(run / "model").parts[0].contents["x"][0].startswith("rows:")
    start = [f"init.run={run}", "init.blocks=[decoder]"]
    with pytest.raises(ConfigError, match=r"init\.run=.* was learnt from 1 of the 1 videos .*\(c, there called x\)"):
        train(ours, tmp_path / "second", *start)
    assert not (tmp_path / "second").exists()
    others = own_features(tmp_path / "others", ["a", "b", "d"], seed=2)
    report = json.loads((train(others, tmp_path / "third", *start) / "report.json").read_text())
    (note,) = report["unchecked"]
    assert "2 of the 2 videos of csv, split 1 that it was learnt from, first 'x', cannot be told" in note


def test_weights_of_a_local_checkpoint_are_of_unknown_origin(kitchen, tmp_path):
    dataset = DatasetConfig(name="kitchen", root=str(kitchen))
    overrides = ["model.encoder.weights=vit.pth", "model.encoder.pretrained=false", f"dataset.root={kitchen}"]
    encoder = compose_experiment(["experiment=own/avt", *overrides])
    config = ExperimentConfig(dataset=dataset, model=encoder.model)
    (note,) = require_unseen(config, load_benchmark(dataset))
    assert note.startswith("from model.encoder.weights=vit.pth: published weights vit.pth does not say")
    assert lineage_of_training(config, load_benchmark(dataset)).gaps == ("published weights vit.pth",)
    timm = import_timm()
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "resnet.pth")
    assert timm_frame_encoder("test_resnet", pretrained=False).lineage is None
    local = timm_frame_encoder("test_resnet", weights=tmp_path / "resnet.pth")
    assert local.provenance(fps=4.0, views="centre").lineage == {"parts": [], "gaps": ["weights resnet.pth"]}
