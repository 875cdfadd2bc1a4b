"""`sgear features`: every verb on small data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from feature_examples import make_store, random_rows
from feature_films import write_film
from scipy.io import savemat
from typer.testing import CliRunner

from sgear.cli.features import app
from sgear.datasets.kitchen import KitchenConfig, build_kitchen
from sgear.errors import ConfigError, FeatureError, RunError, SgearError, VideoError
from sgear.features import FeatureStore, LmdbFeatures
from sgear.models import EncoderConfig, ModelConfig, build_model
from sgear.models.config import DecoderConfig
from sgear.models.frame_features import run_frame_encoder
from sgear.models.pretrained import Preprocessing, TrainedModel, save_model
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
def films(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("films") / "videos"
    for name, num_frames in (("P01/P01_01", 45), ("P02/P02_01", 25)):
        (root / name).parent.mkdir(parents=True)
        write_film(root / f"{name}.mp4", num_frames)
    return root


def save_run(path: Path, encoder: EncoderConfig, preprocessing: Preprocessing) -> Path:
    taxonomy = Taxonomy.from_labels(["cut onion", "wash pan"])
    decoder = DecoderConfig(width=16, num_layers=1, num_heads=2)
    config = ModelConfig(name="avt", width=16, max_steps=4, encoder=encoder, decoder=decoder)
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


def test_films_are_extracted_inspected_exported_and_imported(films, tmp_path):
    torch.manual_seed(0)
    store = tmp_path / "store"
    assert "1 films extracted, 0 were done before, 0 failed" in sgear(
        "extract", films, *RESNET, "--out", store, "--shard", "0/2"
    )
    torch.manual_seed(0)
    assert "1 films extracted, 1 were done before, 0 failed" in sgear("extract", films, *RESNET, "--out", store)
    assert FeatureStore(store).video_ids == ["P01_01", "P02_01"]
    told = sgear("inspect", store, "--videos", "--verify")
    assert "test_resnet" in told
    assert "all 8 rows are whole and finite" in told

    sgear("export", store, tmp_path / "rgb")
    assert LmdbFeatures(tmp_path / "rgb").video_ids == ["P01_01", "P02_01"]
    assert "P02_01_frame_0000000061.jpg" in sgear("inspect", tmp_path / "rgb", "--verify")
    assert "2 videos, 8 rows" in sgear("import", tmp_path / "rgb", "--out", tmp_path / "again", "--dtype", "float16")


def test_the_encoder_of_a_run_gives_its_class_token(films, tmp_path):
    encoder = EncoderConfig(
        name="vit_tiny_patch16_224", image_height=32, image_width=48, embed_dim=16, depth=1, num_heads=2
    )
    run = save_run(tmp_path / "run", encoder, Preprocessing(kind="video", height=32, width=48, crop_margin=0.1))
    sgear("extract", films, "--encoder", run, "--fps", "2", "--out", tmp_path / "store")
    store = FeatureStore(tmp_path / "store")
    assert store.width == 16
    assert store.description.encoder == "vit_tiny_patch16_224 of run run"
    assert len(store["P01_01"].times_s) == 9
    with pytest.raises(ConfigError, match="--no-pretrained have no effect"):
        sgear("extract", films, "--encoder", run, "--no-pretrained", "--out", tmp_path / "store")


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
    with pytest.raises(ConfigError, match="--key has no effect"):
        sgear("import", tmp_path, "--out", tmp_path / "store", "--key", "{video}_{number:04d}")
    sgear("import", tmp_path, "--out", tmp_path / "store", "--fps", "3", "--first-s", "1.5", "--name", "TCN")
    assert FeatureStore(tmp_path / "store")["v2"].first_s == 1.5


def test_coverage_of_a_data_set_decides_the_exit_code(tmp_path):
    config = KitchenConfig(num_train_videos=1, num_validation_videos=2, num_participants=3, num_unseen_participants=1)
    benchmark = build_kitchen(tmp_path / "kitchen", config, num_processes=1, with_films=False)
    times_s = np.arange(4000) / 4
    rows = {video_id: (times_s, random_rows(4000)) for video_id in benchmark.timeline.video_ids}
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


@pytest.mark.parametrize("shard", ["2/2", "1", "a/b", "-1/2"])
def test_a_shard_that_does_not_exist_is_refused(films, tmp_path, shard):
    with pytest.raises(ConfigError, match="must be I/N"):
        sgear("extract", films, *RESNET, "--out", tmp_path, f"--shard={shard}")


def test_films_that_are_nowhere_or_twice_are_refused(films, tmp_path):
    (tmp_path / "empty").mkdir()
    for places, told in (
        ([tmp_path / "absent"], "no such film or folder"),
        ([tmp_path / "empty"], "no films"),
        ([films, films / "P01"], "are both of video 'P01_01'"),
    ):
        with pytest.raises(VideoError, match=told):
            sgear("extract", *places, *RESNET, "--out", tmp_path / "store")


def test_an_unknown_encoder_is_refused(films, tmp_path):
    with pytest.raises(ConfigError, match="'no_such_net' cannot be built by timm"):
        sgear("extract", films, "--encoder", "no_such_net", "--out", tmp_path / "store")
