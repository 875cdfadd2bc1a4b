"""EPIC-KITCHENS-100 end to end in miniature: the commands of docs/epic-kitchens.md, on kitchen videos.

Raw videos in EPIC's folders -> training copies in the three folders of the DATA/ tree of the original README -> a
feature store and an LMDB in RULSTM's format -> the `epic100` recipes on both, found through SGEAR_DATA alone.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from page_commands import commands_under, run_commands, sgear
from sgear.experiment import compose_experiment
from sgear.experiment.build import open_stored_features
from sgear.features import FeatureStore, LmdbFeatures
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.predictions import Predictions
from sgear.training.run import RunDirectory, read_json
from sgear.video import VideoReader

PAGE = Path(__file__).resolve().parents[1] / "docs" / "epic-kitchens.md"
COMMANDS = commands_under(PAGE, "In miniature")
VIDEO_ROOTS = (
    "EpicKitchens/videos_ht256px/train",
    "EpicKitchens/videos_ht256px/test",
    "EpicKitchens100/videos_extension_ht256px",
)
NUM_ACTIONS = 10
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
    # AVT's decoder reads features as they are: the model is as wide.
    "avt_tsn": [*TINY_TRANSFORMER, f"model.width={WIDTH}"],
    "tsn": [
        *TINY_TRANSFORMER,
        "model.prototype_attention.num_heads=2",
        # The whole recipe goes on with a run on videos; tests/experiment/test_recipes.py trains that chain.
        "init.run=''",
        "init.blocks=[]",
        "init.freeze=[]",
    ],
    "rulstm_rgb_completion": ["model.rulstm.hidden_dim=16", f"model.rulstm.modalities=[{WIDTH}]"],
}


# As `sgear data kitchen` of the page makes it, with smaller and shorter videos.
SMALL_KITCHEN = KitchenConfig(
    num_train_videos=3,
    num_validation_videos=1,
    num_unseen_participants=0,
    actions_per_video=NUM_ACTIONS,
    height=72,
    width=96,
)


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Starting processes takes longer than the work on these videos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)
        yield


@pytest.fixture(scope="module")
def folder(one_core, tmp_path_factory) -> Iterator[Path]:
    """Where all commands of the page ran, on small videos in place of those of its first command."""
    root = tmp_path_factory.mktemp("miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SGEAR_DATA", "")
        build_kitchen(root / "kitchen", SMALL_KITCHEN, num_processes=1)
        rendering, *others = COMMANDS
        assert rendering.startswith("sgear data kitchen kitchen ")
        printed = run_commands(others)
        verified = next(text for line, text in printed.items() if line.startswith("sgear data verify"))
        assert "nothing wrong was found" in verified
    sgear("features", "import", root / "DATA" / RULSTM, "--out", root / "DATA" / "epic100" / "features" / "copied")
    return root


@pytest.fixture
def data(folder, monkeypatch) -> Path:
    monkeypatch.setenv("SGEAR_DATA", str(folder / "DATA"))
    return folder / "DATA"


@pytest.mark.slow
def test_the_commands_of_the_page_run_as_they_stand(one_core, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SGEAR_DATA", "")
    run_commands(COMMANDS)
    assert (tmp_path / "runs" / "from-store" / "report.json").is_file()


def test_copies_lie_in_the_three_folders_and_keep_names_and_times(data):
    raw = sorted((data.parent / "kitchen" / "videos").rglob("*.mp4"))
    copies = [path for root in VIDEO_ROOTS for path in (data / "videos" / root).rglob("*.mp4")]
    assert {path.relative_to(data / "videos").parts[:-2] for path in copies} == {
        Path(root).parts for root in VIDEO_ROOTS
    }
    assert sorted(path.parts[-2:] for path in copies) == [path.parts[-2:] for path in raw]
    copy_of = {path.name: path for path in copies}
    for path in raw:
        with VideoReader(path) as video, VideoReader(copy_of[path.name]) as copy:
            assert copy.last_pts_s == pytest.approx(video.last_pts_s, abs=1e-6)


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


def test_the_recipe_was_trained_on_the_lmdb_and_on_the_store_itself(data):
    for name, features in (("from-lmdb", "rgb"), ("from-store", "store")):
        run = RunDirectory(data.parent / "runs" / name).require()
        report = read_json(run.report)
        assert report["num_evaluated"] == report["num_asked"] == NUM_ACTIONS
        assert f"features: {features}\n" in (run.path / "config.yaml").read_text()


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
        assert report["num_evaluated"] == report["num_asked"] == NUM_ACTIONS
    tables = [Predictions.load(RunDirectory(run).predictions) for run in runs.values()]
    np.testing.assert_array_equal(tables[0].logits, tables[1].logits)


def test_the_recipe_reads_the_lmdb_of_the_original_tree(data):
    config = compose_experiment(["experiment=epic100/tsn", *TINY])
    assert isinstance(open_stored_features(config), LmdbFeatures)


def test_a_recipe_on_frames_trains_on_the_copies(data, tmp_path):
    sgear(
        "train",
        "experiment=epic100/avt_vit",
        "name=videos",
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
    assert read_json(tmp_path / "videos" / "report.json")["num_evaluated"] == NUM_ACTIONS
