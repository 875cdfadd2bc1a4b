"""A run over videos of which some are missing, cut or damaged: it stops there, or lists what it left out."""

import json
import shutil
from pathlib import Path

import broken_kitchen as broken
import numpy as np
import pytest

from sgear.cli.compare import run_compare, run_fuse
from sgear.cli.feature_commands import extract_features
from sgear.cli.main import main
from sgear.cli.predictions import print_scores
from sgear.cli.report import run_report
from sgear.data.loader import make_loader, whole_batches
from sgear.datasets import Benchmark
from sgear.errors import RunError, VideoError
from sgear.experiment import ExperimentConfig, compose_experiment, load_run_config
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict_split
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.train import train_run
from sgear.features import FeatureStore
from sgear.predictions import Predictions
from sgear.predictions.provenance import skipped_of
from sgear.training.run import RunDirectory, read_json

DAMAGED_S = (3.0, 6.0)


@pytest.fixture(autouse=True)
def one_decoding_process(monkeypatch):
    """Starting processes takes longer than decoding these videos."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> Path:
    return broken.build(tmp_path_factory.mktemp("healthy") / "kitchen")


@pytest.fixture(scope="module")
def benchmark(healthy: Path) -> Benchmark:
    return load_benchmark(DatasetConfig(name="kitchen", root=str(healthy)))


@pytest.fixture(scope="module")
def hurt(healthy: Path, benchmark: Benchmark, tmp_path_factory) -> tuple[Path, dict[str, set[str]]]:
    """A kitchen with a video missing, one cut and one damaged in each split, and the segments that this touches."""
    root = Path(shutil.copytree(healthy, tmp_path_factory.mktemp("hurt") / "kitchen"))
    expected: dict[str, set[str]] = {}
    for split, segments in (("train", benchmark.train), ("validation", benchmark.validation)):
        missing, cut, damaged = segments.video_ids[:3]
        broken.remove(root, missing)
        last_s = broken.cut(root, cut, 0.6)
        broken.damage(root, damaged, *DAMAGED_S)
        expected[split] = set(broken.windows(segments, [missing]))
        expected[split] |= {
            uid for uid, t_s in broken.windows(segments, [cut]).items() if t_s.max() > last_s + 2 / broken.FPS
        }
        shown_s = {
            uid: np.floor(t_s * broken.FPS + 1e-6) / broken.FPS
            for uid, t_s in broken.windows(segments, [damaged]).items()
        }
        touched = {
            uid for uid, t_s in shown_s.items() if ((t_s > DAMAGED_S[0] - 1e-6) & (t_s < DAMAGED_S[1] - 1e-6)).any()
        }
        expected[split] |= touched
        assert 0 < len(touched) < len(shown_s), "the damage touches some segments of its video"
    assert 0 < len(expected["validation"]) < len(benchmark.validation)
    return root, expected


SETTINGS = f"""
experiment=kitchen/avt name=run protocol.tau_a_s={broken.TAU_A_S} protocol.tau_o_s={broken.TAU_O_S} protocol.fps=2.0
source.reading=videos model.width=32 model.encoder.image_height=32 model.encoder.image_width=32
model.encoder.embed_dim=32 model.encoder.depth=1 model.encoder.num_heads=2 model.encoder.patch_size=16
model.decoder.width=32 model.decoder.num_layers=1 model.decoder.num_heads=2 optim.epochs=2 optim.warmup_epochs=0
init.run= init.blocks=[] runtime.device=cpu
""".split()
SKIP = "source.on_error=skip"
CACHED = ("source.reading=cache", "source.cache_fps=10.0")


def overrides(root: Path, out: Path, *changes: str) -> list[str]:
    return [*SETTINGS, f"output_root={out}", f"dataset.root={root}", *changes]


def compose(root: Path, out: Path, *changes: str) -> ExperimentConfig:
    return compose_experiment(overrides(root, out, *changes))


@pytest.fixture
def copied(healthy: Path, tmp_path) -> Path:
    """The kitchen, to be broken."""
    return Path(shutil.copytree(healthy, tmp_path / "kitchen"))


@pytest.fixture(scope="module")
def skipping_run(hurt, tmp_path_factory) -> Path:
    return train_run(compose(hurt[0], tmp_path_factory.mktemp("skipping"), SKIP)).path


@pytest.fixture(scope="module")
def healthy_run(healthy, tmp_path_factory) -> Path:
    return train_run(compose(healthy, tmp_path_factory.mktemp("whole"))).path


def listed(skipped: dict) -> dict[str, set[str]]:
    return {split: set(reasons) for split, reasons in skipped.items()}


def test_skipping_lists_exactly_the_segments_whose_windows_touch_the_damage(skipping_run, healthy_run, hurt, benchmark):
    report = read_json(healthy_run / "report.json")
    assert report["is_benchmark"] is True
    assert "skipped" not in report
    report = read_json(skipping_run / "report.json")
    assert listed(report["skipped"]) == hurt[1]
    assert report["is_benchmark"] is False
    assert report["num_unreadable"] == len(hurt[1]["validation"])
    assert report["num_evaluated"] == report["num_asked"] == len(benchmark.validation)
    reasons = " ".join(reason for split in report["skipped"].values() for reason in split.values())
    for words in ("no file of video", "truncated", "damaged there"):
        assert words in reasons
    # Evaluating again keeps the list of training.
    assert listed(evaluate_run(skipping_run)["skipped"]) == hurt[1]


@pytest.mark.parametrize("reading", [CACHED, ()])
def test_both_ways_of_reading_leave_out_the_same_segments(hurt, reading, tmp_path):
    train = build_data(compose(hurt[0], tmp_path, SKIP, *reading)).train
    unreadable = {train.segments.uids[row] for row in range(len(train)) if train[row]["unreadable"]}
    assert unreadable == hurt[1]["train"]


def test_what_could_not_be_read_is_predicted_from_the_class_prior(skipping_run, hurt, benchmark):
    table = Predictions.load(skipping_run / "predictions" / "validation.safetensors")
    counts = benchmark.train.action_counts() + 1.0
    prior = np.log(counts / counts.sum())
    is_prior = {uid for uid, row in zip(table.uids, table.logits, strict=True) if np.allclose(row, prior, atol=1e-6)}
    blind = set(table.uids) - set(broken.windows(benchmark.validation, benchmark.validation.video_ids))
    assert is_prior == hurt[1]["validation"] | blind
    assert table.provenance["num_from_prior"] == len(blind)
    assert table.provenance["num_unreadable"] == len(hurt[1]["validation"])


def test_a_run_that_was_trained_on_everything_can_be_evaluated_on_damaged_videos(healthy_run, hurt, tmp_path):
    run = Path(shutil.copytree(healthy_run, tmp_path / "moved"))
    root = str(load_run_config(healthy_run / "config.yaml").dataset.root)
    # As if the videos had been damaged where they lie.
    for name in ("config.yaml", "data.json"):
        (run / name).write_text((run / name).read_text().replace(root, str(hurt[0])))
    with pytest.raises(VideoError, match=r"source\.on_error=skip"):
        predict_split(run)
    table, _ = predict_split(run, on_error="skip")
    assert listed(skipped_of(table.provenance)) == {"validation": hurt[1]["validation"]}
    result = evaluate_horizons(run, [0.5], on_error="skip")
    assert result["is_benchmark"] is False


def test_stopping_is_one_line_with_the_segment_from_a_worker_too_and_leaves_nothing_half_written(
    copied, tmp_path, monkeypatch, capsys
):
    benchmark = load_benchmark(DatasetConfig(name="kitchen", root=str(copied)))
    broken.damage(copied, benchmark.train.video_ids[0], *DAMAGED_S)
    monkeypatch.setattr("sys.argv", ["sgear", "train", *overrides(copied, tmp_path, "runtime.num_workers=2")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    uids = set(broken.windows(benchmark.train, [benchmark.train.video_ids[0]]))
    assert any(f"segment {uid!r}" in line for uid in uids)
    for words in (f"{benchmark.train.video_ids[0]}.mp4", "t = ", "damaged there", SKIP):
        assert words in line
    left = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".part", ".partial")]
    assert not (tmp_path / "run" / "report.json").exists()
    assert not (tmp_path / "run" / "model").exists()


def test_missing_videos_stop_a_run_before_it_begins_and_the_error_says_how_to_go_on(hurt, tmp_path):
    with pytest.raises(VideoError, match=r"2 of 7 annotated videos are missing.*set source\.on_error=skip"):
        train_run(compose(hurt[0], tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_video_that_cannot_be_opened_stops_the_building_of_the_cache_in_one_line(copied, tmp_path):
    path = broken.video(copied, "P01_01")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(VideoError, match=r"1 of 7 videos cannot be read, first 'P01_01'.*source\.on_error=skip") as err:
        build_data(compose(copied, tmp_path, *CACHED))
    assert "\n" not in str(err.value)
    data = build_data(compose(copied, tmp_path, *CACHED, SKIP))
    lost = [row for row in range(len(data.train)) if data.train[row]["unreadable"]]
    assert {data.train.segments.column("video_id")[row] for row in lost} == {"P01_01"}


def test_a_cache_of_a_video_that_is_damaged_now_is_not_read(copied, tmp_path):
    changes = [*CACHED, SKIP]
    build_data(compose(copied, tmp_path, *changes))
    broken.video(copied, "P01_01").write_bytes(b"")
    train = build_data(compose(copied, tmp_path, *changes)).train
    rows = np.flatnonzero(train.segments.column("video_id") == "P01_01")
    assert all("P01_01.mp4" in train[int(row)]["unreadable"] for row in rows)


def test_videos_that_are_all_missing_are_an_error_even_when_skipping(copied, tmp_path):
    shutil.rmtree(copied / "videos")
    with pytest.raises(VideoError, match="7 of 7 annotated videos are missing"):
        build_data(compose(copied, tmp_path, SKIP))


def test_a_run_without_any_readable_training_clip_ends(copied, tmp_path):
    for path in (copied / "videos").rglob("*.mp4"):
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RunError, match=r"none of the \d+ training clips can be read, first"):
        train_run(compose(copied, tmp_path, SKIP))


def test_a_run_that_stopped_goes_on_without_the_clip(copied, tmp_path):
    benchmark = load_benchmark(DatasetConfig(name="kitchen", root=str(copied)))
    broken.damage(copied, benchmark.validation.video_ids[0], *DAMAGED_S)
    with pytest.raises(VideoError, match="segment"):
        train_run(compose(copied, tmp_path))
    resumed = train_run(compose(copied, tmp_path, SKIP, "runtime.resume=true"))
    assert set(read_json(resumed.report)["skipped"]) == {"validation"}
    assert evaluate_run(resumed.path)["is_benchmark"] is False


def test_loader_workers_report_unreadable_clips_as_this_process_does(hurt, tmp_path):
    train = build_data(compose(hurt[0], tmp_path, SKIP)).train
    loaders = [make_loader(train, batch_size=4, num_workers=number) for number in (0, 2)]
    reasons = [[reason for batch in whole_batches(loader) for reason in batch["unreadable"]] for loader in loaders]
    assert reasons[0] == reasons[1]
    assert sum(map(bool, reasons[0])) == len(hurt[1]["train"])


def test_the_terminal_says_that_it_is_no_benchmark_number(skipping_run, hurt, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_scores(read_json(skipping_run / "report.json"), source=skipping_run / "report.json")
    printed = " ".join(capsys.readouterr().out.split())
    assert "not a benchmark number" in printed
    assert f"{len(hurt[1]['train'])} of train, {len(hurt[1]['validation'])} of validation" in printed
    assert "report.json" in printed


def test_the_page_shows_the_list_above_its_numbers(skipping_run, healthy_run, hurt, tmp_path):
    run_report([skipping_run], tmp_path / "hurt.html")
    run_report([healthy_run], tmp_path / "whole.html")
    page = (tmp_path / "hurt.html").read_text()
    banner = page[page.index('class="banner"') : page.index("</header>")]
    assert "Not a benchmark number" in banner
    assert all(uid in banner for uid in hurt[1]["train"] | hurt[1]["validation"])
    assert "not a benchmark number" not in (tmp_path / "whole.html").read_text().lower()


def test_fusing_and_comparing_with_a_whole_run_keeps_the_list(skipping_run, healthy_run, hurt, tmp_path, capsys):
    out = tmp_path / "fused.safetensors"
    run_fuse([healthy_run, skipping_run], None, "probs", out)
    assert "not a benchmark number" in " ".join(capsys.readouterr().out.split())
    assert listed(skipped_of(Predictions.load(out).provenance)) == hurt[1]
    run_compare(healthy_run, skipping_run, True)
    document = json.loads(capsys.readouterr().out)
    assert document["is_benchmark"] is False
    assert document["skipped"][0] == {}
    assert listed(document["skipped"][1]) == hurt[1]


def test_features_of_such_a_run_say_so_in_their_store(skipping_run, healthy, hurt, tmp_path):
    extract_features(
        [broken.video(healthy, "P01_01")],
        str(skipping_run),
        tmp_path / "store",
        fps=1.0,
        views="centre",
        batch_size=8,
        dtype="float32",
        shard="0/1",
        device="cpu",
        precision="float32",
        weights=None,
        pretrained=True,
    )
    description = FeatureStore(tmp_path / "store").description
    assert "not a benchmark number" in description.encoder
    assert listed(description.skipped) == {"train": hurt[1]["train"]}


def test_a_run_that_starts_from_one_with_skipped_clips_is_no_benchmark_number(skipping_run, healthy, tmp_path):
    changes = [f"init.run={skipping_run}", "init.blocks=[encoder]", "optim.epochs=1"]
    run = train_run(compose(healthy, tmp_path, *changes))
    report = read_json(run.report)
    assert report["is_benchmark"] is False
    assert set(report["skipped"]) == {"start from run"}
    assert RunDirectory(run.path).require_evaluated()
