"""Stored features last as long as their videos, or say that nobody knows: a clock that runs fast shows the future."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_examples import MADE_BY, make_lmdb, make_store, random_rows, rulstm_entries
from feature_videos import write_video
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import stated_lengths
from sgear.datasets.own import import_own
from sgear.errors import ConfigError, FeatureError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_asked, load_benchmark, open_stored_features
from sgear.experiment.evaluate import evaluate_run
from sgear.experiment.facts import VideoFacts, learn_facts, lengths_of_dataset
from sgear.experiment.schema import (
    AnticipationConfig,
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    VideoSourceConfig,
)
from sgear.experiment.train import train_run
from sgear.features import FeatureStore, FeatureStoreWriter
from sgear.features.extract import FrameEncoder, extract
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays
from sgear.features.inspection import LENGTH_TOLERANCE_S, clock_faults
from sgear.kitchen import KitchenConfig, build_kitchen, load_kitchen_features
from sgear.lineage import ROWS, VIDEO

KITCHEN = KitchenConfig(
    num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=40
)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clocks") / "kitchen"
    build_kitchen(root, KITCHEN, num_processes=1, with_videos=False)
    return root


def import_at(fps: float, root: Path, name: str, *, num_missing: int = 0) -> FeatureStore:
    """Import the features of a kitchen, four rows a second, as if they came at another rate; the last ones may miss."""
    folder, table = root.parent / "arrays", load_kitchen_features(root)
    folder.mkdir(exist_ok=True)
    for video_id in table.video_ids:
        rows = table[video_id].features
        np.save(folder / f"{video_id}.npy", rows[: len(rows) - num_missing])
    return import_arrays(find_arrays(folder), root / "features" / name, ArrayFormat(fps=fps), name="arrays")


def config_of(dataset: DatasetConfig, features: str, **source) -> ExperimentConfig:
    return ExperimentConfig(dataset=dataset, source=FeatureSourceConfig(features=features, **source))


def facts_of(config: ExperimentConfig) -> VideoFacts:
    benchmark = load_benchmark(config.dataset)
    features = open_stored_features(config)
    return learn_facts(config, benchmark, annotated_videos(all_splits(benchmark)), features=features)


# --- the law --------------------------------------------------------------------------------------------------------


@given(
    rate=st.sampled_from([1.0, 3.0, 4.0, 30.0]),
    length_s=st.floats(10.0, 4000.0),
    error=st.floats(-0.1, 0.1),
    has_begun_row=st.booleans(),
)
def test_rows_of_an_accepted_clock_show_nothing_later_than_its_tolerance(
    tmp_path_factory, rate, length_s, error, has_begun_row
):
    said = rate * (1 + error)
    num_rows = math.ceil(length_s * rate) if has_begun_row else math.floor(length_s * rate)
    rows = np.arange(num_rows - 3, num_rows)
    root = tmp_path_factory.mktemp("law")
    store = make_store(root, {"v": (rows / said, random_rows(3))})
    faults, unknown = clock_faults(store, ["v"], {"v": length_s}, {})
    assert unknown == []
    apart_s = np.abs(rows / rate - rows / said).max()
    if not faults:
        assert apart_s <= LENGTH_TOLERANCE_S + 1 / said + 1 / rate + 1e-6
    if error == 0:
        assert not faults


def test_rows_too_far_apart_to_tell_a_look_ahead_are_no_benchmark(kitchen):
    import_at(4.0, kitchen, "ending", num_missing=1)
    config = config_of(DatasetConfig(name="kitchen", root=str(kitchen)), "ending")
    assert facts_of(replace(config, protocol=AnticipationConfig(tau_a_s=1.0))).caveats == ()
    (caveat,) = facts_of(replace(config, protocol=AnticipationConfig(tau_a_s=0.25))).caveats
    assert "rows end before the videos by more than half of tau_a" in caveat


def test_a_wrong_rate_is_refused_with_both_lengths_the_right_rate_and_the_remedy(kitchen):
    import_at(4.08, kitchen, "fast")
    import_at(4.0, kitchen, "right")
    dataset = DatasetConfig(name="kitchen", root=str(kitchen))
    assert facts_of(config_of(dataset, "right")).caveats == ()
    message = (
        r"features 'fast': the rows of 5 videos do not last as long as the videos, most of all those of '\w+', "
        r"4\.08 a second, end at [\d.]+ s, but the video lasts [\d.]+ s, which (4|3\.99\d*|4\.00\d*) a second would "
        r"give.* --fps .*source\.check_clock=false"
    )
    with pytest.raises(FeatureError, match=message):
        facts_of(config_of(dataset, "fast"))
    (caveat,) = facts_of(config_of(dataset, "fast", check_clock=False)).caveats
    assert caveat.startswith("clock unverified: of features 'fast', rows do not last as long as the videos, so it")


def test_every_command_that_reads_features_asks_for_the_clock(kitchen):
    import_at(4.08, kitchen, "fast")
    common = [f"dataset.root={kitchen}", "source.features=fast", "model.encoder.feature_dim=64", "runtime.device=cpu"]
    config = compose_experiment(["experiment=smoke/kitchen", *common, f"output_root={kitchen.parent}", "name=fast"])
    with pytest.raises(FeatureError, match="do not last as long"):
        train_run(config)
    assert not (kitchen.parent / "fast" / "model").exists()
    with pytest.raises(FeatureError, match="do not last as long"):
        build_asked(config, "validation")
    inspected = CliRunner().invoke(
        app, ["features", "inspect", str(kitchen / "features" / "fast"), "--dataset", "kitchen", "--root", str(kitchen)]
    )
    assert inspected.exit_code == 1
    assert "clock: the rows of 5 videos do not last as long" in " ".join(inspected.output.split())


# --- real data sets -------------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", ["epic100", "rulstm-ek55"])
def test_frames_of_epic_kitchens_counted_at_another_rate_are_refused(real_data, monkeypatch, tmp_path, name):
    """Real videos with their real lengths; of each the first and the last frame of the database."""
    monkeypatch.setenv("SGEAR_DATA", str(real_data))
    lengths_s, benchmark = stated_lengths(name), load_benchmark(DatasetConfig(name=name))
    assert lengths_s.keys() >= set(annotated_videos(all_splits(benchmark)))
    video_ids = benchmark.validation.video_ids
    for counted in (30.0, 29.97):
        last = {video_id: math.floor(lengths_s[video_id] * counted) - 1 for video_id in video_ids}
        entries = [rulstm_entries(video_id, [0, number], width=2) for video_id, number in last.items()]
        make_lmdb(tmp_path / f"{counted}", {key: value for each in entries for key, value in each.items()})

    def facts(counted: float, read_at: float) -> VideoFacts:
        config = config_of(DatasetConfig(name=name), str(tmp_path / f"{counted}"), lmdb_fps=read_at)
        return learn_facts(config, benchmark, video_ids, features=open_stored_features(config))

    assert facts(30.0, 30.0).caveats == facts(29.97, 29.97).caveats == ()
    longest_s = max(lengths_s[video_id] for video_id in video_ids)
    message = rf"29\.97'.* 30 a second, end at [\d.]+ s, but the video lasts {longest_s:.3f} s, which 29\.97 a second"
    with pytest.raises(FeatureError, match=rf"{message} would give.*source\.lmdb_fps"):
        facts(29.97, 30.0)
    for said, is_right in ((4.0, True), (4.08, False)):
        rows = {
            video_id: np.arange(int(4 * lengths_s[video_id]) - 3, int(4 * lengths_s[video_id]))
            for video_id in video_ids
        }
        store = make_store(tmp_path / f"at{said}", {name: (each / said, random_rows(3)) for name, each in rows.items()})
        config = config_of(DatasetConfig(name=name), str(store.root))
        if is_right:
            assert learn_facts(config, benchmark, video_ids, features=store).caveats == ()
        else:
            with pytest.raises(FeatureError, match=rf"lasts {longest_s:.3f} s, which (4|3\.999\d*|4\.000\d*) a second"):
                learn_facts(config, benchmark, video_ids, features=store)


@pytest.mark.data
def test_features_of_50_salads_have_a_row_for_each_label_of_theirs(real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("SGEAR_DATA", str(real_data))
    dataset = DatasetConfig(name="salads50-tcn")
    assert facts_of(config_of(dataset, "spatialcnn+accelerometer")).caveats == ()
    arrays = find_arrays(real_data / "50salads" / "spatialcnn_mid" / "split_1")
    assert lengths_of_dataset(dataset).keys() == arrays.keys()
    for fps in (3.0, 3.06):
        import_arrays(arrays, tmp_path / f"{fps}", ArrayFormat(fps=fps), name="Lea")
        # A store of them has the same beginning, which nothing in it says: it is read by the data set's name alone.
        with pytest.raises(ConfigError, match="counts seconds from row 0 of its own features"):
            facts_of(config_of(dataset, str(tmp_path / f"{fps}")))


# --- own data -------------------------------------------------------------------------------------------------------


def own_data(root: Path) -> DatasetConfig:
    """Import a csv of three videos of 15 s."""
    rows = [f"v{i},{start},{start + 2},cut" for i in range(3) for start in (4, 12)]
    root.mkdir()
    (root / "own.csv").write_text("\n".join(["video,start,stop,label", *rows]) + "\n")
    assert import_own(root / "own.csv", root / "data").is_accepted
    return DatasetConfig(name="csv", root=str(root / "data"))


def store_at(fps: float, root: Path, num_rows: int = 60) -> Path:
    make_store(root, {f"v{i}": (np.arange(num_rows) / fps, random_rows(num_rows, seed=i)) for i in range(3)})
    return root


def videos_of(folder: Path) -> dict[str, Path]:
    """Write videos of 15.0, 15.2 and 15.4 s."""
    folder.mkdir()
    return {f"v{i}": write_video(folder / f"v{i}.mp4", 75 + i, fps=5) for i in range(3)}


def test_videos_of_own_data_say_how_long_they_last(tmp_path):
    dataset = own_data(tmp_path / "own")
    right, fast = (str(store_at(fps, tmp_path / f"{fps}")) for fps in (4.0, 4.4))
    (caveat,) = facts_of(config_of(dataset, fast)).caveats
    assert caveat.startswith("clock unverified: of features ")
    assert "the lengths of videos are not known, so it cannot be checked that nothing later than tau_a" in caveat
    videos_of(tmp_path / "own" / "data" / "videos")
    assert facts_of(config_of(dataset, right)).caveats == ()
    with pytest.raises(FeatureError, match=r"end at 13\.636 s, but the video lasts 15\.400 s"):
        facts_of(config_of(dataset, fast))


def test_a_video_is_no_shorter_than_its_annotations(tmp_path):
    dataset = own_data(tmp_path / "own")
    short = str(store_at(6.0, tmp_path / "short"))
    with pytest.raises(FeatureError, match=r"end at 10\.000 s, but its last annotated action stops at 14\.000 s"):
        facts_of(config_of(dataset, short))


def test_extracted_features_know_their_videos_wherever_these_are_now(tmp_path):
    videos = videos_of(tmp_path / "videos")
    encoder = FrameEncoder(
        encode=lambda frames: frames.mean(dim=(2, 3)),
        name="mean",
        weights="0123",
        width=3,
        image_height=16,
        image_width=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        crop_margin=0.0,
    )
    writer = FeatureStoreWriter(tmp_path / "store", encoder.provenance(fps=4.0, views="centre"), width=3)
    extract(encoder, videos, writer, fps=4.0).raise_failures()
    writer.finish()
    facts = facts_of(config_of(own_data(tmp_path / "own"), str(tmp_path / "store")))
    assert facts.caveats == ()
    assert all([text.split(":")[0] + ":" for text in texts] == [ROWS, VIDEO] for texts in facts.contents.values())


def test_a_result_of_an_unverified_clock_is_no_benchmark_number_and_says_why(tmp_path):
    dataset = own_data(tmp_path / "own")
    store_at(4.0, Path(dataset.root) / "features" / "vit")
    settings = ["experiment=smoke/kitchen", "dataset.name=csv", f"dataset.root={dataset.root}", "source.features=vit"]
    settings += ["model.encoder.feature_dim=6", "model.width=32", "model.decoder.width=32", "optim.epochs=1"]
    run = train_run(compose_experiment([*settings, f"output_root={tmp_path}", "name=run", "runtime.device=cpu"]))
    for report in (json.loads(run.report.read_text()), evaluate_run(run.path)):
        assert report["is_benchmark"] is False
        assert report["caveat"].count("clock unverified: of features 'vit'") == 1
    # A model that was trained so stays what it is when the videos turn up.
    videos_of(Path(dataset.root) / "videos")
    assert "clock unverified" in evaluate_run(run.path)["caveat"]


def test_a_rate_of_images_that_nothing_confirms_is_said(tmp_path):
    dataset = own_data(tmp_path / "own")
    videos = {f"v{i}": tmp_path / f"v{i}" for i in range(3)}
    for folder in videos.values():
        folder.mkdir()
    config = ExperimentConfig(dataset=dataset, source=VideoSourceConfig(frame_fps=25.0))
    benchmark = load_benchmark(dataset)
    (caveat,) = learn_facts(config, benchmark, list(videos), videos=videos).caveats
    assert caveat.startswith("clock unverified: of images read at source.frame_fps=25")
    assumed = replace(config, source=VideoSourceConfig())
    assert learn_facts(assumed, benchmark, list(videos), videos=videos).caveats == ()


def test_the_smallest_store_is_not_taken_for_a_checked_one(tmp_path):
    dataset = own_data(tmp_path / "own")
    videos_of(tmp_path / "own" / "data" / "videos")
    writer = FeatureStoreWriter(tmp_path / "single", replace(MADE_BY, fps=0.1), width=2)
    for i in range(3):
        writer.write(f"v{i}", np.zeros(1), random_rows(1, width=2))
    writer.finish()
    (caveat,) = facts_of(config_of(dataset, str(tmp_path / "single"))).caveats
    assert caveat.startswith("clock unverified")
