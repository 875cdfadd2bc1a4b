"""Every recipe is built, trained for a step or two and evaluated, at tiny size, in the order they depend on.

The data are a small kitchen in the csv layout of EPIC-KITCHENS-100, with videos, and stores of random features under
the names and widths of the published ones; sizes of the networks are overridden, everything else is the recipe's.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_recipes import WIDTHS, TinyRuns, head_of, recipe, recipes, recipes_on_kitchen, small_kitchen, write_features
from torch.utils.data import DataLoader

from sgear.data import collate
from sgear.datasets import stated_lengths
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data, open_stored_features
from sgear.features import LmdbLayout
from sgear.features.lmdb_export import export_store
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter

STORED_SALADS = (
    *("salads50/spatialcnn", "salads50/accelerometer", "salads50/fused", "salads50/ablation"),
    *("salads50/last_recognised", "salads50/pooled", "salads50/history"),
)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = small_kitchen(tmp_path_factory.mktemp("recipes") / "kitchen", actions_per_video=12)
    for name, width in WIDTHS.items():
        write_features(root / "features" / name, stated_lengths("kitchen", root), width=width)
    return root


@pytest.fixture(scope="module")
def runs(kitchen: Path) -> TinyRuns:
    def settings(name: str) -> list[str]:
        overrides = ["dataset.name=kitchen", f"dataset.root={kitchen}"]
        if recipe(name).dataset.split != 1:
            overrides.append("dataset.split=1")
        if name.startswith(STORED_SALADS):
            # The recogniser and class confusion want features in memory: the kitchen's own.
            overrides += ["source.features=oracle", "model.encoder.feature_dim=64"]
        return overrides

    return TinyRuns(kitchen.parent, settings)


@pytest.mark.parametrize("name", recipes_on_kitchen())
def test_a_recipe_trains_and_is_evaluated(name: str, runs: TinyRuns):
    report = runs.report(name)
    assert report["num_evaluated"] == report["num_asked"] > 0
    assert 0 <= report["scores"]["overall"]["action"]["recall5"] <= 1


@pytest.mark.parametrize("name", [name for name in recipes() if not name.startswith(("kitchen/", *STORED_SALADS))])
def test_a_recipe_says_what_was_published_its_command_its_needs_and_its_deviations(name: str):
    head = head_of(name)
    words = ["Published:", "Needs:", f"experiment={name}"] + ([] if name.startswith("own/") else ["Deviations:"])
    for word in words:
        assert word in head, word


@pytest.mark.parametrize("name", recipes("salads50"))
def test_a_recipe_of_50_salads_says_whose_protocol_it_has(name):
    assert f"Protocol: {recipe(name).dataset.name}" in head_of(name)


# --- the DATA/ tree of the original README: only SGEAR_DATA is set, and everything is found --------------------------

LMDBS = {"external/rulstm/RULSTM/ek100_data_full/rgb": 1024, "extracted_features/ek100/igm": 2048}
VIDEO_FOLDERS = (
    *("EpicKitchens/videos_ht256px/train", "EpicKitchens/videos_ht256px/test"),
    "EpicKitchens100/videos_extension_ht256px",
)


@pytest.fixture
def data(kitchen: Path, tmp_path, monkeypatch) -> Path:
    """The kitchen with videos in three folders, features in LMDBs, annotations beside them."""
    data = tmp_path / "DATA"
    shutil.copytree(kitchen / "annotations", data / "epic100" / "annotations")
    videos = sorted((kitchen / "videos").rglob("*.mp4"))
    for video, place in zip(videos, VIDEO_FOLDERS, strict=True):
        folder = data / "videos" / place / video.parent.name
        folder.mkdir(parents=True)
        shutil.copy(video, folder / f"{video.stem}.MP4")
    origin = Provenance(encoder="random", weights="", preprocessing="none", fps=30.0)
    for place, width in LMDBS.items():
        writer = FeatureStoreWriter(tmp_path / "store" / place, origin, width=width)
        for video in videos:
            writer.write(video.stem, np.arange(1, 100) / 30, np.ones((99, width), dtype=np.float32))
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        export_store(writer.finish(), data / place, layout=LmdbLayout())
    monkeypatch.setenv("SGEAR_DATA", str(data))
    return data


def test_a_recipe_trains_from_videos_in_the_original_tree_with_two_loader_workers(data, tmp_path):
    tree = TinyRuns(tmp_path / "runs", lambda name: ["runtime.num_workers=2"])
    config = tree.config("epic100/avt_vit")
    assert config.source.reading == "videos"
    report = tree.report("epic100/avt_vit")
    assert report["num_evaluated"] == report["num_asked"] > 0
    assert not (data / "epic100" / "cache").exists()
    train = build_data(config).train

    def clips(num_workers: int) -> list:
        loader = DataLoader(train, batch_size=4, collate_fn=collate, num_workers=num_workers)
        return [batch["clip"] for batch in loader]

    assert all((ours == theirs).all() for ours, theirs in zip(clips(0), clips(2), strict=True))


def test_features_of_the_original_tree_are_found_by_name(data):
    for name, width in (("tsn", 1024), ("igm", 2048)):
        assert open_stored_features(compose_experiment([f"experiment=epic100/{name}"])).width == width
