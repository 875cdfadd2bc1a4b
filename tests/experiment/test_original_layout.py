"""A kitchen laid out as the DATA/ tree of the original README: only SGEAR_DATA is set, and everything is found."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sgear.data import collate
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, open_stored_features
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.train import train_run
from sgear.features import LmdbLayout
from sgear.features.lmdb_export import export_store
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.run import read_json

TINY = [
    "model.width=32",
    "model.decoder.width=32",
    "model.decoder.num_layers=1",
    "model.decoder.num_heads=2",
    "model.encoder.name=vit_tiny_patch16_224",
    "model.encoder.pretrained=false",
    "model.encoder.image_height=32",
    "model.encoder.image_width=32",
    "model.encoder.embed_dim=32",
    "model.encoder.depth=1",
    "model.encoder.num_heads=2",
    "optim.epochs=1",
    "optim.warmup_epochs=0",
    "optim.batch_size=16",
    "runtime.device=cpu",
]
WIDTHS = {"external/rulstm/RULSTM/ek100_data_full/rgb": 1024, "extracted_features/ek100/igm": 2048}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """DATA/ with videos in three folders, features in LMDBs, annotations beside them."""
    root = tmp_path_factory.mktemp("original")
    small = KitchenConfig(
        num_train_videos=2,
        num_validation_videos=1,
        num_unseen_participants=0,
        actions_per_video=10,
        height=48,
        width=64,
    )
    build_kitchen(root / "kitchen", small, num_processes=1)
    data = root / "DATA"
    shutil.copytree(root / "kitchen" / "annotations", data / "epic100" / "annotations")
    places = (
        "videos/EpicKitchens/videos_ht256px/train",
        "videos/EpicKitchens/videos_ht256px/test",
        "videos/EpicKitchens100/videos_extension_ht256px",
    )
    videos = sorted((root / "kitchen" / "videos").rglob("*.mp4"))
    for video, place in zip(videos, places, strict=True):
        folder = data / place / video.parent.name
        folder.mkdir(parents=True)
        shutil.copy(video, folder / f"{video.stem}.MP4")
    for place, width in WIDTHS.items():
        origin = Provenance(encoder="random", weights="", preprocessing="none", fps=30.0)
        writer = FeatureStoreWriter(root / "store" / place, origin, width=width)
        for video in videos:
            times_s = np.arange(1, 100) / 30
            writer.write(video.stem, times_s, np.ones((len(times_s), width), dtype=np.float32))
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        export_store(writer.finish(), data / place, layout=LmdbLayout())
    return data


@pytest.fixture
def data(built: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SGEAR_DATA", str(built))
    return built


def recipe(name: str, out: Path, *more: str) -> ExperimentConfig:
    return compose_experiment([f"experiment=epic100/{name}", f"output_root={out}", *TINY, *more])


def test_a_recipe_trains_from_videos_in_the_original_tree_with_two_loader_workers(data, tmp_path):
    config = recipe("avt_vit", tmp_path, "runtime.num_workers=2")
    assert config.source.reading == "videos"
    run = train_run(config)
    report = read_json(run.path / "report.json")
    assert report["num_evaluated"] == report["num_asked"] > 0
    assert not (data / "epic100" / "cache").exists()


def test_windows_of_the_tree_are_the_same_in_every_number_of_workers(data, tmp_path):
    train = build_data(recipe("avt_vit", tmp_path)).train

    def clips(num_workers: int) -> list:
        loader = DataLoader(train, batch_size=4, collate_fn=collate, num_workers=num_workers)
        return [batch["clip"] for batch in loader]

    for ours, theirs in zip(clips(0), clips(2), strict=True):
        assert (ours == theirs).all()


@pytest.mark.parametrize(("name", "width"), [("tsn", 1024), ("igm", 2048)])
def test_features_of_the_original_tree_are_found_by_name(data, name, width):
    table = open_stored_features(compose_experiment([f"experiment=epic100/{name}"]))
    assert table.width == width
