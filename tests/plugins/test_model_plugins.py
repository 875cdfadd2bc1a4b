"""A model and an encoder of clips from another package: trained, extracted from and forecast with, no file edited."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sgear
from sgear.data import AnticipationDataset, StepLabels, VideoSource
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.evaluate import evaluate_run
from sgear.experiment.train import train_run
from sgear.features import FeatureStoreWriter
from sgear.features.extract import extract
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.models import AnticipationModel, FrameInput, build_model, list_models, register_encoder, register_model
from sgear.models.base import _MODELS
from sgear.models.encoders.base import _ENCODERS
from sgear.models.encoders.extraction import run_frame_encoder
from sgear.plugins import load_plugins
from sgear.predictions import Predictions
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol, frames_of_steps
from sgear.training.run import RunDirectory, read_json
from sgear.video.base import FrameBatch
from sgear.video.transforms import ClipTransform

HERE = Path(__file__).parent
KITCHEN = KitchenConfig(
    num_train_videos=2, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=5
)
SETTINGS = [
    *("dataset.name=kitchen", "protocol.tau_o_s=3", "source.kind=video", "source.cache_fps=8", "model.width=32"),
    *(
        "model.max_steps=3",
        "model.encoder.name=tiny3d",
        "model.encoder.image_height=32",
        "model.encoder.image_width=48",
    ),
    *("optim.epochs=1", "optim.batch_size=2", "runtime.device=cpu", "runtime.num_workers=0"),
]
AVT = ["model.name=avt", "model.decoder.width=32", "model.decoder.num_layers=1", "objective.feat=0"]


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    sys.path.insert(0, str(HERE / "clips"))
    yield
    sys.path.remove(str(HERE / "clips"))
    _MODELS.pop("last-step", None)
    _ENCODERS.pop("tiny3d", None)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    build_kitchen(folder / "kitchen", KITCHEN, num_processes=1)
    return folder


@pytest.fixture(scope="module")
def run(root) -> RunDirectory:
    return train(root, "clips", *AVT)


def train(root: Path, name: str, *overrides: str) -> RunDirectory:
    settings = [f"name={name}", f"output_root={root}", f"dataset.root={root / 'kitchen'}", *SETTINGS, *overrides]
    return train_run(compose_experiment(settings))


def video_of(root: Path) -> Path:
    return next(iter(sorted((root / "kitchen").rglob("*.MP4")) or sorted((root / "kitchen").rglob("*.mp4"))))


def test_a_model_on_clips_is_trained_saved_loaded_and_evaluated(run):
    before, report = Predictions.load(run.predictions), read_json(run.report)
    assert read_json(run.model / "model.json")["preprocessing"]["frames_per_step"] == 4
    assert evaluate_run(run.path) == report
    assert np.array_equal(Predictions.load(run.predictions).logits, before.logits)


def test_a_model_with_settings_of_its_own_is_trained_and_loaded(root):
    run = train(root, "last-step", "model.name=last-step", "objective.feat=0")
    assert set(read_json(run.model / "model.json")["config"]) == {"name", "width", "max_steps", "encoder", "head"}
    assert type(sgear.load(run.path).model).__name__ == "LastStep"
    assert "last-step" in list_models()


def test_features_are_those_of_the_clips_that_training_reads(root, run, tmp_path):
    encoder = run_frame_encoder(run.path)
    writer = FeatureStoreWriter(tmp_path / "store", encoder.provenance(fps=2.0, views="centre"), width=encoder.width)
    extract(encoder, {"v": video_of(root)}, writer, fps=2.0, batch_size=3).raise_failures()
    stored = writer.finish()["v"]
    model = sgear.load(run.path)
    from sgear.video.pool import open_video

    for row in (0, 1, 5):
        with open_video(video_of(root), size=model._reading_size()) as video:
            instants_s = np.maximum(row / 2 - np.array([0.75, 0.5, 0.25, 0.0]), 0.0)
            frames = model._transform().evaluate(video.frames_played_at(instants_s).frames)
        with torch.no_grad():
            expected = model.model.encoder(model._finish(frames[None, None], None))[0, 0, 0]
        np.testing.assert_allclose(stored.read(np.array([row / 2]), 0.0)[0][0], expected.numpy(), atol=1e-6)


def test_a_stream_forecasts_what_the_windows_of_the_video_do(root, run):
    import av

    model = sgear.load(run.path)
    windows = list(model.anticipate(video_of(root), every_s=1.0, top_k=99))[:4]
    stream, streamed = model.stream(top_k=99), []
    with av.open(str(video_of(root))) as container:
        for frame in container.decode(video=0):
            if forecast := stream.push(frame, float(frame.time)):
                streamed.append(forecast)
            if len(streamed) == len(windows):
                break
    for one, other in zip(windows, streamed, strict=True):
        assert one.now_s == pytest.approx(other.now_s)
        found, expected = dict(other.top), dict(one.top)
        assert [found[name] for name in expected] == pytest.approx(list(expected.values()), abs=1e-4)


# --- no frame from the future ---------------------------------------------------------------------------------------


class _Clock:
    """A video at `fps` whose frames show their number; it keeps what was asked of it."""

    def __init__(self, fps: float, first_s: float) -> None:
        self.fps, self.first_s, self.latest_s = fps, first_s, -np.inf

    def frames_played_at(self, video_id: str, timestamps_s) -> FrameBatch:
        asked_s = np.asarray(timestamps_s)
        assert (asked_s >= self.first_s - 1e-6).all()
        self.latest_s = max(self.latest_s, float(asked_s.max()))
        numbers = np.floor((asked_s - self.first_s) * self.fps + 1e-6).astype(int)
        frames = torch.from_numpy(numbers % 256).to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
        return FrameBatch(frames=frames.contiguous(), pts_s=self.first_s + numbers / self.fps)

    def span_s(self, video_id: str) -> tuple[float, float]:
        return self.first_s, 100.0


@given(
    start_s=st.floats(2.2, 25.0),
    fps=st.floats(5.0, 30.0),
    first_s=st.sampled_from([0.0, 0.03]),
    num_frames=st.integers(1, 6),
    gap_s=st.floats(0.01, 0.6),
)
def test_no_frame_of_any_clip_is_later_than_the_start_less_tau_a(start_s, fps, first_s, num_frames, gap_s):
    taxonomy = Taxonomy.from_labels(["cut onion"])
    row = {"uid": ["a"], "participant_id": ["P"], "video_id": ["v"], "start_s": [start_s], "stop_s": [start_s + 1]}
    ids = {"verb_id": [0], "noun_id": [0], "action_id": [0]}
    table = SegmentTable(pl.DataFrame(row | ids), taxonomy, origin="made")
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
    transform = ClipTransform(8, 8, (0.5,) * 3, (0.5,) * 3, crop_margin=0.0, flip=False, brightness=0.0, contrast=0.0)
    clock = _Clock(fps, first_s)
    gap_s = gap_s if num_frames > 1 else 0.0
    source = VideoSource(clock, transform, frames_per_step=num_frames, step_frames_s=gap_s)
    for seed in (None, 0):
        sample = AnticipationDataset(table, protocol, StepLabels(table), source, seed=seed)[0]
        assert clock.latest_s <= start_s - 1.0 + 1e-6
    # The slow twin: each frame of each step by itself.
    shown = sample["clip"].reshape(4, num_frames, 3, 8, 8)[..., 0, 0, 0].numpy()
    for step, now_s in enumerate(protocol.timestamps(start_s)):
        for back in range(num_frames) if sample["mask"][step] else ():
            instant_s = max(now_s - back * gap_s, first_s)
            exact = (instant_s - first_s) * fps
            # A rounding away from a frame's start either frame is right.
            assert shown[step, num_frames - 1 - back] in {np.floor(exact + 1e-5) % 256, np.floor(exact - 1e-5) % 256}


def test_a_step_of_one_frame_is_its_instant():
    instants_s = np.array([-1.0, 0.01, 2.5])
    assert np.array_equal(frames_of_steps(instants_s, frames_per_step=1, step_frames_s=0.0)[:, 0], instants_s)


# --- what a registry refuses ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    name: str = "x"
    max_steps: int = 4


class Whole(AnticipationModel):
    Config, sources = Named, ("features",)

    def forward(self, clip, mask=None):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear, "must be a subclass of AnticipationModel"),
        (type("NoForward", (AnticipationModel,), {"Config": Named, "sources": ("video",)}), "lacks forward"),
        (type("NoConfig", (Whole,), {"Config": None}), "needs Config, a dataclass with name and max_steps"),
        (type("NoSources", (Whole,), {"sources": ()}), "needs sources, one or several of video, features"),
        (type("OddSources", (Whole,), {"sources": ("sound",)}), "needs sources"),
    ],
)
def test_a_model_that_lacks_something_is_an_error_at_import(model, message):
    with pytest.raises(TypeError, match=message):
        register_model("broken")(model)


def test_a_taken_name_and_an_encoder_that_lacks_something_are_errors_at_import():
    with pytest.raises(TypeError, match="takes the name of"):
        register_model("avt")(Whole)
    with pytest.raises(TypeError, match="must be a subclass of VideoEncoder"):
        register_encoder("broken")(nn.Linear)


@pytest.mark.parametrize(
    "numbers", [{"frames_per_step": 0}, {"frames_per_step": 2}, {"step_frames_s": 0.5}, {"size": (0, 4)}]
)
def test_frames_that_would_be_none_or_from_the_future_are_refused(numbers):
    with pytest.raises(ConfigError, match="at least 1 frame"):
        FrameInput(**{"size": (4, 4)} | numbers)


def test_a_package_that_fails_to_load_is_named(tmp_path, monkeypatch):
    info = tmp_path / "sad_models-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sad-models\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[sgear.models]\nsad = sad_models_that_are_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"'sad' \(sgear\.models\) of the package sad-models cannot be loaded"):
        load_plugins("sgear.models")
    with pytest.raises(ConfigError, match="sad-models"):
        build_model(Named(name="nobody"), num_actions=2)
