"""The commands a newcomer types, on a small kitchen: videos, recognition, prototypes, anticipation, report, overlay."""

import json
import os
import shlex
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import av
import pytest
import torch
from whole_command import run_here

from sgear.cli.anticipate import run_anticipate
from sgear.errors import ConfigError
from sgear.experiment.settings import hydra_override

TINY = [
    "model.width=32",
    "model.encoder.embed_dim=32",
    "model.encoder.depth=1",
    "model.encoder.num_heads=2",
    "model.encoder.patch_size=48",
    "model.decoder.width=32",
    "model.decoder.num_layers=1",
    "optim.epochs=1",
    "runtime.device=cpu",
]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_here(*arguments, columns=200)


def sgear(*arguments: str | Path) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "sgear.cli.main", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("commands") / "my data (1)"
    common = [hydra_override("dataset.root", root / "kitchen"), hydra_override("output_root", root), *TINY]
    installed("data", "kitchen", root / "kitchen", "--train-videos", "1", "--validation-videos", "2")
    installed("train", "experiment=kitchen/recognition", *common)
    installed("prototypes", "visual", root / "kitchen-recognition", "--out", root / "kitchen-visual.safetensors")
    installed(
        *("prototypes", "language", "--dataset", "kitchen", "--root", root / "kitchen"),
        *("--out", root / "kitchen-language.safetensors"),
    )
    (root / "printed.txt").write_text(installed("train", "experiment=kitchen/sgear", *common))
    return root


def test_a_run_leaves_its_config_log_model_predictions_and_report(trained: Path):
    run = trained / "kitchen-sgear"
    names = {path.name for path in run.iterdir()}
    files = {"config.yaml", "data.json", "run.json", "metrics.jsonl", "report.json"}
    assert names == files | {"checkpoints", "model", "predictions", "tensorboard"}
    report = json.loads((run / "report.json").read_text())
    assert report["num_evaluated"] == report["num_asked"] == 90
    logged = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert {"cls", "past", "feat", "sem", "reg", "total", "lr"} <= logged.keys()


def test_evaluating_again_gives_the_same_numbers(trained: Path):
    path = trained / "kitchen-sgear" / "report.json"
    before = json.loads(path.read_text())
    sgear("evaluate", trained / "kitchen-sgear")
    assert json.loads(path.read_text()) == before


def test_a_video_is_forecast_as_table_json_and_video(trained: Path, tmp_path: Path):
    video = next((trained / "kitchen" / "videos").rglob("*.mp4"))
    out = tmp_path / "forecast.mp4"
    arguments = ("anticipate", video, "--model", trained / "kitchen-sgear", "--every", "2.0", "--top", "3")
    assert "now (s)" in sgear(*arguments)
    lines = [json.loads(line) for line in sgear(*arguments, "--json", "--out", out).splitlines()]
    assert [line["now_s"] for line in lines[:3]] == [0.0, 2.0, 4.0]
    for line in lines:
        probabilities = [guess["probability"] for guess in line["top"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1.0001
    with av.open(str(out)) as written, av.open(str(video)) as original:
        assert written.streams.video[0].frames == original.streams.video[0].frames
    assert "3 s later" in sgear(*arguments, "--steps-ahead", "3")
    ahead = [json.loads(line) for line in sgear(*arguments, "--json", "--steps-ahead", "3").splitlines()]
    assert [{**line, "later": None} for line in ahead] == [{**line, "later": None} for line in lines]
    assert [step["about_s"] - line["now_s"] for line in ahead[:2] for step in line["later"]] == [2.0, 3.0] * 2


def test_forecasts_do_not_depend_on_what_comes_later(trained: Path, tmp_path: Path):
    video = next((trained / "kitchen" / "videos").rglob("*.mp4"))
    short = tmp_path / "short.mp4"
    with av.open(str(video)) as source, av.open(str(short), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.pts * packet.time_base < 10:
                packet.stream = stream
                target.mux(packet)
    arguments = ("--model", trained / "kitchen-sgear", "--every", "1.0", "--json")
    whole = [json.loads(line)["top"] for line in sgear("anticipate", video, *arguments).splitlines()]
    cut = [json.loads(line)["top"] for line in sgear("anticipate", short, *arguments).splitlines()]
    assert len(cut) < len(whole)
    assert cut == whole[: len(cut)]


def test_every_real_video_is_forecast(trained: Path, real_data: Path):
    videos = sorted((real_data / "videos").iterdir())
    assert videos
    for video in videos:
        lines = sgear("anticipate", video, "--model", trained / "kitchen-sgear", "--json").splitlines()
        assert len(lines) >= 3, video.name


@pytest.mark.parametrize("damage", ["missing", "zero bytes", "not a video", "cut in the middle"])
def test_a_video_that_cannot_be_read_is_named_and_nothing_is_written(trained: Path, tmp_path: Path, damage: str):
    video, out = tmp_path / "video.mp4", tmp_path / "forecast.mp4"
    original = next((trained / "kitchen" / "videos").rglob("*.mp4")).read_bytes()
    contents = {"zero bytes": b"", "not a video": b"hello", "cut in the middle": original[: len(original) // 2]}
    if damage in contents:
        video.write_bytes(contents[damage])
    done = run("anticipate", video, "--model", trained / "kitchen-sgear", "--out", out)
    assert done.returncode == 2
    assert "video.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tmp_path.iterdir() if path != video] == []


def _frames_of(video: Path, folder: Path, num: int) -> Path:
    folder.mkdir()
    with av.open(str(video)) as container:
        for number, frame in enumerate(islice(container.decode(video=0), num), start=1):
            frame.to_image().save(folder / f"frame_{number:010d}.png")
    return folder


def test_a_folder_of_images_is_forecast_at_the_rate_of_its_numbering(trained: Path, tmp_path: Path):
    video = next((trained / "kitchen" / "videos").rglob("*.mp4"))
    with av.open(str(video)) as container:
        fps = float(container.streams.video[0].average_rate)
    folder, out = _frames_of(video, tmp_path / "P01_01", round(4 * fps)), tmp_path / "forecast.mp4"
    arguments = ("--model", trained / "kitchen-sgear", "--every", "1.0", "--json", "--device", "cpu")
    refused = run("anticipate", folder, *arguments)
    assert refused.returncode == 2
    assert "--frame-fps" in refused.stderr
    told = sgear("anticipate", folder, *arguments, "--frame-fps", str(fps), "--out", out).splitlines()
    assert [json.loads(line)["now_s"] for line in told] == [0.0, 1.0, 2.0, 3.0]
    with av.open(str(out)) as written:
        assert written.streams.video[0].frames == round(4 * fps)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"device": "tpu"}, "device must be auto, cpu or cuda"),
        ({"device": "cuda"}, "torch finds no GPU"),
        ({"frame_fps": 10.0}, "--frame-fps has no effect"),
    ],
)
def test_options_of_anticipate_that_cannot_be_followed_are_refused(tmp_path: Path, options: dict, part: str):
    if options == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match=part):
        run_anticipate(tmp_path / "video.mp4", tmp_path, every_s=1.0, top_k=5, as_json=True, out=None, **options)


def test_a_video_whose_end_is_missing_is_forecast_with_a_warning(trained: Path, tmp_path: Path):
    video = next((trained / "kitchen" / "videos").rglob("*.mp4"))
    path = tmp_path / "video.mkv"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    arguments = ("--model", trained / "kitchen-sgear", "--every", "2.0", "--json")
    whole = run("anticipate", path, *arguments)
    assert whole.stderr == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = run("anticipate", path, *arguments)
    assert cut.returncode == 0
    assert f"warning: {path}: the file is truncated" in cut.stderr
    lines = cut.stdout.splitlines()
    assert 0 < len(lines) < len(whole.stdout.splitlines())


def test_the_run_is_reported_by_the_command_that_its_training_printed(trained: Path, tmp_path: Path):
    out = tmp_path / "report.html"
    printed = (trained / "printed.txt").read_text().splitlines()[-1].partition("draw it with: ")[2]
    program, *words = shlex.split(printed)
    assert (program, words) == ("sgear", ["report", str(trained / "kitchen-sgear")])
    sgear(*words, "--out", out)
    page = out.read_text()
    assert "http" not in page
    assert "Bayes ceiling" in page


def test_help_answers_at_once():
    installed("--help")
    start_s = time.monotonic()
    installed("--help")
    # Bare interpreter start is a third of this; importing torch alone would take three times as long.
    assert time.monotonic() - start_s < 2.0
