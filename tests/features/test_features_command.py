"""`sgear features`: every verb on small data."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_examples import (
    LEAF,
    OVERFLOW,
    PAGE,
    make_lmdb,
    make_store,
    overwrite,
    pages_of,
    random_rows,
    rulstm_entries,
)
from feature_videos import write_video
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from sgear.cli.features import app
from sgear.datasets import stated_lengths
from sgear.errors import ConfigError, FeatureError, RunError, SgearError, VideoError
from sgear.features import FeatureStore, LmdbFeatures, LmdbLayout
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.lineage import Lineage
from sgear.models import EncoderConfig, build_model, model_config
from sgear.models.config import DecoderConfig
from sgear.models.encoders.extraction import run_frame_encoder
from sgear.models.pretrained import Preprocessing, TrainedModel, load_model, save_model
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

RESNET = ["--encoder", "test_resnet", "--no-pretrained", "--fps", "1"]


def sgear(*arguments: str | Path, code: int = 0) -> str:
    """Run a verb of `sgear features`; errors of the user's side are raised."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})
    if isinstance(result.exception, SgearError):
        raise result.exception
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("videos") / "videos"
    for name, num_frames in (("P01/P01_01", 45), ("P02/P02_01", 25)):
        (root / name).parent.mkdir(parents=True)
        write_video(root / f"{name}.mp4", num_frames)
    return root


def save_run(path: Path, encoder: EncoderConfig, preprocessing: Preprocessing) -> Path:
    taxonomy = Taxonomy.from_labels(["cut onion", "wash pan"])
    decoder = DecoderConfig(width=16, num_layers=1, num_heads=2)
    config = model_config(name="avt", width=16, max_steps=4, encoder=encoder, decoder=decoder)
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
    model = build_model(config, num_actions=2).eval()
    trained = TrainedModel(
        model=model,
        config=config,
        taxonomy=taxonomy,
        protocol=protocol,
        preprocessing=preprocessing,
        log_prior=torch.zeros(2),
    )
    save_model(trained, path / "model")
    (path / "config.yaml").write_text("name: run\n")
    return path


def test_videos_are_extracted_inspected_exported_and_imported(videos, tmp_path):
    store = tmp_path / "store"
    assert "1 videos extracted, 0 were done before, 0 failed" in sgear(
        "extract", videos, *RESNET, "--out", store, "--shard", "0/2"
    )
    assert "1 videos extracted, 1 were done before, 0 failed" in sgear("extract", videos, *RESNET, "--out", store)
    assert FeatureStore(store).video_ids == ["P01_01", "P02_01"]
    told = sgear("inspect", store, "--videos", "--verify")
    assert "test_resnet" in told
    assert "all 8 rows are whole and finite" in told

    sgear("export", store, tmp_path / "rgb")
    assert LmdbFeatures(tmp_path / "rgb").video_ids == ["P01_01", "P02_01"]
    assert "P02_01_frame_0000000061.jpg" in sgear("inspect", tmp_path / "rgb", "--verify")
    assert "2 videos, 8 rows" in sgear("import", tmp_path / "rgb", "--out", tmp_path / "again", "--dtype", "float16")


def test_the_encoder_of_a_run_gives_its_class_token(videos, tmp_path):
    encoder = EncoderConfig(
        name="vit_tiny_patch16_224", image_height=32, image_width=48, embed_dim=16, depth=1, num_heads=2
    )
    run = save_run(tmp_path / "run", encoder, Preprocessing(kind="video", height=32, width=48, crop_margin=0.1))
    sgear("extract", videos, "--encoder", run, "--fps", "2", "--out", tmp_path / "store")
    store = FeatureStore(tmp_path / "store")
    assert store.width == 16
    assert store.description.encoder == "vit_tiny_patch16_224 of run run"
    assert Lineage.from_dict(store.description.lineage, name="store") == load_model(run / "model").lineage
    assert len(store["P01_01"].times_s) == 9
    with pytest.raises(ConfigError, match="--no-pretrained have no effect"):
        sgear("extract", videos, "--encoder", run, "--no-pretrained", "--out", tmp_path / "store")


def test_a_run_on_stored_features_has_no_frame_encoder(tmp_path):
    run = save_run(tmp_path / "run", EncoderConfig(feature_dim=8), Preprocessing(kind="features"))
    with pytest.raises(RunError, match="reads stored features"):
        run_frame_encoder(run)


def test_mat_files_are_imported(tmp_path):
    for number in (1, 2):
        rows = random_rows(20 + number, 8)
        savemat(tmp_path / f"v{number}.mat", {"A": rows.T, "Y": np.zeros(20 + number)})
    with pytest.raises(ConfigError, match="--fps is needed"):
        sgear("import", tmp_path, "--out", tmp_path / "store")
    with pytest.raises(ConfigError, match="--key, --max-gap and --lmdb-dtype have no effect"):
        sgear("import", tmp_path, "--out", tmp_path / "store", "--key", "{video}_{number:04d}")
    sgear("import", tmp_path, "--out", tmp_path / "store", "--fps", "3", "--first-s", "1.5", "--name", "TCN")
    assert FeatureStore(tmp_path / "store")["v2"].first_s == 1.5


def test_a_rate_of_zero_is_refused(tmp_path):
    make_lmdb(tmp_path / "db", rulstm_entries("v", range(1, 9)))
    told = sgear("import", tmp_path / "db", "--out", tmp_path / "store", "--fps", "0", code=2)
    assert "'--fps'" in told
    assert not (tmp_path / "store").exists()


def test_the_reach_of_an_lmdb_stays_with_its_copy(tmp_path):
    make_lmdb(tmp_path / "db", rulstm_entries("v", range(30, 300, 30)))
    told = sgear("inspect", tmp_path / "db")
    assert "video v: no rows from 1.333 to 2.000 s, 2.333 to 3.000 s, 3.333 to 4.000 s and 5 more times (5.3 s" in told
    sgear("import", tmp_path / "db", "--out", tmp_path / "store", "--max-gap", "1.0")
    assert "no rows" not in sgear("inspect", tmp_path / "store")
    FeatureStore(tmp_path / "store")["v"].read(np.array([1.9]))
    sgear("import", tmp_path / "db", "--out", tmp_path / "store", "--max-gap", "1.0")
    sgear("import", tmp_path / "db", "--out", tmp_path / "store")
    with pytest.raises(ConfigError, match=r"was begun before and keeps its rows for .* s, not .*; change max_gap_s in"):
        sgear("import", tmp_path / "db", "--out", tmp_path / "store", "--max-gap", "2.0")
    with pytest.raises(ConfigError, match=r"--lmdb-dtype have no effect: .* store\.json"):
        sgear("inspect", tmp_path / "store", "--max-gap", "2")


def test_an_export_of_sparse_rows_says_how_it_can_be_read(tmp_path):
    store = make_store(tmp_path / "store", {"v": (np.arange(20.0), random_rows(20))})
    told = sgear("export", store.root, tmp_path / "sparse")
    assert "warning: rows lie up to 1.000 s apart" in told
    assert "source.lmdb_max_gap_s=1 " in told
    with pytest.raises(FeatureError, match=r"set source\.lmdb_max_gap_s \(--max-gap\) to their distance"):
        LmdbFeatures(tmp_path / "sparse")["v"].read(np.array([5.9]))
    layout = LmdbLayout(max_gap_s=1.0)
    assert LmdbFeatures(tmp_path / "sparse", layout)["v"].covers(np.arange(0.034, 19.9, 0.01)).all()
    dense = make_store(tmp_path / "dense", {"v": (np.arange(20) / 4, random_rows(20))})
    assert "warning" not in sgear("export", dense.root, tmp_path / "dense_lmdb")


def test_a_file_in_the_place_of_a_store_is_refused(videos, tmp_path):
    (tmp_path / "out").write_text("notes")
    with pytest.raises(FeatureError, match="out: cannot be made a folder for a feature store"):
        sgear("extract", videos, *RESNET, "--out", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "notes"


IMAGE_FPS, NUM_IMAGES = 2.0, 20


@pytest.fixture(scope="module")
def imaged(tmp_path_factory) -> Path:
    """A data set whose videos are folders of numbered images, and which says their rate and length."""
    root = tmp_path_factory.mktemp("imaged") / "kitchen"
    config = KitchenConfig(num_train_videos=2, num_validation_videos=1, num_participants=3, num_unseen_participants=0)
    benchmark = build_kitchen(root, config, num_processes=1, with_videos=False)
    for video_id in benchmark.timeline.video_ids:
        folder = root / "videos" / video_id
        folder.mkdir(parents=True)
        for number in range(1, NUM_IMAGES + 1):
            Image.new("RGB", (64, 48), (9 * number, 0, 0)).save(folder / f"frame_{number:010d}.jpg")
    write_info(root, benchmark.timeline.video_ids, NUM_IMAGES / IMAGE_FPS)
    return root


def write_info(root: Path, video_ids: list[str], duration_s: float) -> None:
    lines = [f"{video_id},{duration_s},{IMAGE_FPS},64x48" for video_id in video_ids]
    text = "\n".join(["video_id,duration,fps,resolution", *lines, ""])
    (root / "annotations" / "EPIC_100_video_info.csv").write_text(text)


def test_images_of_a_data_set_are_found_there_and_have_its_rates(imaged, tmp_path):
    asked = ("--dataset", "kitchen", "--root", imaged)
    assert "3 videos extracted" in sgear("extract", *RESNET, "--out", tmp_path / "store", *asked)
    store = FeatureStore(tmp_path / "store")
    assert len(store.video_ids) == 3
    assert store[store.video_ids[0]].times_s.tolist() == list(range(10))


def test_images_that_do_not_last_as_long_as_the_data_set_says_are_refused(imaged, tmp_path):
    root = Path(shutil.copytree(imaged, tmp_path / "kitchen"))
    video_ids = sorted(path.name for path in (root / "videos").iterdir())
    write_info(root, video_ids, 5.0)
    asked = ("--dataset", "kitchen", "--root", root)
    with pytest.raises(
        FeatureError, match=r"(?s)3 videos .*last 10\.000 s, but .* 5\.000 s.* at about 4\.00 to the second"
    ):
        sgear("extract", *RESNET, "--out", tmp_path / "store", *asked)
    sgear("extract", *RESNET, "--out", tmp_path / "given", *asked, "--frame-fps", "4")
    assert FeatureStore(tmp_path / "given")[video_ids[0]].times_s.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    shutil.rmtree(root / "videos" / video_ids[1])
    write_info(root, video_ids, 10.0)
    with pytest.raises(FeatureError, match=rf"1 videos .* 2 others are done:\nno file of video '{video_ids[1]}' under"):
        sgear("extract", *RESNET, "--out", tmp_path / "part", *asked)


def test_videos_come_from_folders_or_from_a_data_set(videos, imaged, tmp_path):
    for given in ([], [videos, "--dataset", "kitchen", "--root", imaged]):
        with pytest.raises(ConfigError, match="either videos or folders of videos, or a data set"):
            sgear("extract", *given, *RESNET, "--out", tmp_path / "store")


def test_coverage_of_a_data_set_decides_the_exit_code(tmp_path):
    config = KitchenConfig(num_train_videos=1, num_validation_videos=2, num_participants=3, num_unseen_participants=1)
    benchmark = build_kitchen(tmp_path / "kitchen", config, num_processes=1, with_videos=False)
    rows = {}
    for video_id, length_s in stated_lengths("kitchen", tmp_path / "kitchen").items():
        times_s = np.arange(0.0, length_s, 0.25)
        rows[video_id] = (times_s, random_rows(len(times_s)))
    complete = make_store(tmp_path / "complete", rows)
    asked = ("--dataset", "kitchen", "--root", tmp_path / "kitchen")
    assert "videos missing: " not in sgear("inspect", complete.root, *asked)
    absent = benchmark.validation.video_ids[0]
    rows.pop(absent)
    part = make_store(tmp_path / "part", rows)
    assert f"validation: videos missing: {absent}" in sgear("inspect", part.root, *asked, code=1)


def test_an_index_is_made_anew_on_demand(tmp_path):
    store = make_store(tmp_path / "store", {"v": (np.arange(4.0), random_rows(4))})
    old = (store.root / "index.parquet").read_bytes()
    make_store(store.root, {"v": (np.arange(5.0), random_rows(5))})
    (store.root / "index.parquet").write_bytes(old)
    with pytest.raises(FeatureError, match="was written anew after the index; run 'sgear features inspect --reindex'"):
        FeatureStore(store.root)["v"]
    sgear("inspect", store.root, "--reindex")
    assert len(FeatureStore(store.root)["v"].times_s) == 5


def test_inspect_names_a_damaged_page_and_lists_all_damaged_videos(tmp_path):
    entries = {
        f"{video}_frame_{n:010d}.jpg": row.tobytes()
        for video in ("P01_01", "P01_02", "P02_01")
        for n, row in enumerate(random_rows(8, 1024), start=1)
    }
    path = make_lmdb(tmp_path / "rgb", entries)
    for row in (3, 19):
        overwrite(path / "data.mdb", pages_of(path / "data.mdb", OVERFLOW)[row], bytes(PAGE))
    told = sgear("inspect", path, "--verify", code=1)
    assert "2 videos are damaged" in told
    assert "key 'P01_01_frame_0000000004.jpg'" in told
    leaf = pages_of(path / "data.mdb", LEAF)[0]
    overwrite(path / "data.mdb", leaf, bytes(PAGE))
    with pytest.raises(FeatureError, match="it is damaged: copy it again"):
        sgear("inspect", path)


@pytest.mark.parametrize("shard", ["2/2", "1", "a/b", "-1/2"])
def test_a_shard_that_does_not_exist_is_refused(videos, tmp_path, shard):
    with pytest.raises(ConfigError, match="must be I/N"):
        sgear("extract", videos, *RESNET, "--out", tmp_path, f"--shard={shard}")


def test_videos_that_are_nowhere_or_twice_are_refused(videos, tmp_path):
    (tmp_path / "empty").mkdir()
    for places, told in (
        ([tmp_path / "absent"], "no such video or folder"),
        ([tmp_path / "empty"], "no videos"),
        ([videos, videos / "P01"], "are both of video 'P01_01'"),
    ):
        with pytest.raises(VideoError, match=told):
            sgear("extract", *places, *RESNET, "--out", tmp_path / "store")


def test_an_unknown_encoder_is_refused(videos, tmp_path):
    with pytest.raises(ConfigError, match="'no_such_net' cannot be built by timm"):
        sgear("extract", videos, "--encoder", "no_such_net", "--out", tmp_path / "store")
