"""EPIC-KITCHENS-100 end to end in miniature: docs/epic-kitchens.md in the order of its commands, on kitchen films.

Raw films in EPIC's folders -> training copies in the DATA/ tree of the original README -> a feature store and an LMDB
in RULSTM's format -> the `epic100` recipes on both, found through SGEAR_DATA alone.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.config import compose_experiment
from sgear.config.build import open_stored_features
from sgear.datasets.kitchen import KitchenConfig
from sgear.datasets.kitchen.build import build_kitchen
from sgear.features import FeatureStore, LmdbFeatures
from sgear.predictions import Predictions
from sgear.training.run import RunDirectory, read_json
from sgear.video import VideoReader

WIDTH = 64
RULSTM = Path("external/rulstm/RULSTM/ek100_data_full/rgb")
TINY = [
    f"model.encoder.feature_dim={WIDTH}",
    "optim.epochs=1",
    "optim.warmup_epochs=0",
    "optim.batch_size=16",
    "runtime.device=cpu",
    "runtime.num_workers=0",
]
TINY_TRANSFORMER = [
    "model.width=32",
    "model.decoder.width=32",
    "model.decoder.num_layers=1",
    "model.decoder.num_heads=2",
]
RECIPES = {
    "avt_tsn": TINY_TRANSFORMER,
    "tsn": [
        *TINY_TRANSFORMER,
        "model.prototype_attention.num_heads=2",
        # The whole recipe goes on with a run on films; tests/config/test_recipes.py trains that chain.
        "init.run=''",
        "init.blocks=[]",
        "init.freeze=[]",
    ],
    "rulstm_rgb_completion": ["model.rulstm.hidden_dim=16", f"model.rulstm.modalities=[{WIDTH}]"],
}


def sgear(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, f"sgear {arguments}: {result.output} {result.exception!r}"
    return result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """DATA/ with copies, features and annotations; the raw films lie beside it."""
    root = tmp_path_factory.mktemp("miniature")
    small = KitchenConfig(
        num_train_videos=2,
        num_validation_videos=1,
        num_unseen_participants=0,
        actions_per_video=10,
        height=72,
        width=96,
    )
    build_kitchen(root / "kitchen", small, num_processes=1)
    for film in sorted((root / "kitchen" / "videos").rglob("*.mp4")):
        folder = root / "raw" / film.stem.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, folder / f"{film.stem}.MP4")
    shutil.copytree(root / "kitchen" / "annotations", root / "DATA" / "epic100" / "annotations")
    copies = root / "DATA" / "videos" / "EpicKitchens" / "videos_ht256px" / "train"
    sgear("data", "transcode", root / "raw", "--out", copies, "--short-side", 48, "--workers", 1)
    store = root / "store"
    encoder = ["--encoder", "test_vit", "--no-pretrained"]
    sgear("features", "extract", copies, *encoder, "--fps", 10, "--out", store)
    sgear("features", "export", store, root / "DATA" / RULSTM)
    sgear("features", "import", root / "DATA" / RULSTM, "--out", root / "DATA" / "epic100" / "features" / "copied")
    return root / "DATA"


@pytest.fixture(autouse=True)
def set_data(data: Path, monkeypatch):
    monkeypatch.setenv("SGEAR_DATA", str(data))


def test_copies_keep_names_times_and_shape(data):
    copies = data / "videos" / "EpicKitchens" / "videos_ht256px" / "train"
    raw = sorted((data.parent / "raw").rglob("*.MP4"))
    assert [path.relative_to(data.parent / "raw") for path in raw] == sorted(
        path.relative_to(copies) for path in copies.rglob("*.MP4")
    )
    for path in raw:
        with VideoReader(path) as film, VideoReader(copies / path.relative_to(data.parent / "raw")) as copy:
            assert (copy.height, copy.width) == (48, 64)
            assert copy.last_pts_s == pytest.approx(film.last_pts_s, abs=1e-6)


def test_films_and_rows_agree(data):
    assert "nothing wrong was found" in sgear("data", "verify", "--dataset", "epic100")


def test_features_of_both_kinds_cover_all_segments(data):
    for features in (data.parent / "store", data / RULSTM):
        sgear("features", "inspect", features, "--dataset", "epic100")


def test_the_lmdb_has_rulstms_keys_and_the_rows_of_the_store(data):
    store, exported = FeatureStore(data.parent / "store"), LmdbFeatures(data / RULSTM)
    assert sorted(exported.video_ids) == sorted(store.video_ids)
    for video_id in store.video_ids:
        # A reader of RULSTM's format counts frame n as seen at n / 30, so a row is seen up to a frame later.
        times_s = store[video_id].times_s
        found, seen_s = exported[video_id].read(times_s + 1 / 30 + 1e-6, 0.0)
        np.testing.assert_array_equal(found, store[video_id].features)
        assert (seen_s >= times_s).all()
        assert (seen_s <= times_s + 1 / 30 + 1e-6).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_on_the_lmdb_and_on_a_store_of_the_same_rows_with_equal_scores(recipe, data, tmp_path):
    runs = {}
    for features in ("rgb", "copied"):
        name = f"{recipe}-{features}"
        # `rgb` is the recipe's own setting, found where the original README puts it.
        chosen = [] if features == "rgb" else [f"source.features={features}"]
        settings = [f"name={name}", f"output_root={tmp_path}", *chosen, *TINY, *RECIPES[recipe]]
        sgear("train", f"experiment=epic100/{recipe}", *settings)
        runs[features] = tmp_path / name
        report = read_json(runs[features] / "report.json")
        assert report["num_evaluated"] == report["num_asked"] == 10
    tables = [Predictions.load(RunDirectory(run).predictions) for run in runs.values()]
    np.testing.assert_array_equal(tables[0].logits, tables[1].logits)


def test_the_recipe_reads_the_lmdb_of_the_original_tree(data):
    config = compose_experiment(["experiment=epic100/tsn", *TINY])
    assert isinstance(open_stored_features(config), LmdbFeatures)


def test_a_recipe_on_frames_trains_on_the_copies(data, tmp_path):
    sgear(
        "train",
        "experiment=epic100/avt_vit",
        "name=films",
        f"output_root={tmp_path}",
        *[setting for setting in TINY if "feature_dim" not in setting],
        *TINY_TRANSFORMER,
        "model.encoder.name=vit_tiny_patch16_224",
        "model.encoder.pretrained=false",
        "model.encoder.image_height=32",
        "model.encoder.image_width=32",
        "model.encoder.embed_dim=32",
        "model.encoder.depth=1",
        "model.encoder.num_heads=2",
    )
    assert read_json(tmp_path / "films" / "report.json")["num_evaluated"] == 10
