"""A model as one object: loading, and forecasts of frames as they come, equal to those of a video's windows."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from coded_videos import make_video, steady
from video_models import trained, vit

import sgear
from sgear.cli.anticipate import run_anticipate
from sgear.errors import ConfigError, RunError, VideoError
from sgear.models import (
    DecoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    TemporalContextConfig,
    build_model,
    model_config,
)
from sgear.models.pretrained import Preprocessing, TrainedModel, save_model
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol, RecognitionProtocol

TAXONOMY = Taxonomy.from_labels(["take cup", "wash pan", "open door", "pour water", "cut leek", "close lid"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=2.0, fps=2.0)
FPS = 10
# As many pixels as the model reads, so that reading a video and pushing its frames resize nothing.
VIDEO_SIZE = (24, 32)
SEEN = Preprocessing(kind="video", height=24, width=32)
ENCODER = vit(24, 32, 32)
MODELS = {
    "avt": {"name": "avt"},
    "sgear without TCA": {"name": "sgear"},
    "sgear decay": {"temporal_context": TemporalContextConfig(num_blocks=1, mode="decay", lifetime_steps=2.0)},
    "sgear cumulative": {"temporal_context": TemporalContextConfig(num_blocks=1)},
    "sgear causal": {"temporal_context": TemporalContextConfig(num_blocks=1, mode="causal")},
    "sgear released": {"prototype_attention": PrototypeAttentionConfig(mode="released", num_heads=2)},
    "sgear original": {
        "prototype_attention": PrototypeAttentionConfig(mode="original", num_heads=2, toeplitz=False),
        "temporal_context": TemporalContextConfig(num_blocks=1, mode="original"),
    },
    "avt longer than its window": {"name": "avt", "max_steps": 7},
}
ENDLESS = {"avt", "sgear without TCA", "sgear decay"}


def make_trained(kind: str, protocol: AnticipationProtocol | RecognitionProtocol | None = None) -> TrainedModel:
    torch.manual_seed(0)
    if protocol is None:
        # The released code has no steps that are absent.
        protocol = replace(PROTOCOL, short_history="repeat") if kind == "sgear original" else PROTOCOL
    parts = {"width": 32, "max_steps": PROTOCOL.num_steps, "encoder": ENCODER, "head": HeadConfig(temperature=1.0)}
    decoder = DecoderConfig(width=32, num_layers=1, num_heads=2, init_std=0.3)
    config = model_config(**parts | {"decoder": decoder} | MODELS[kind])
    model = build_model(config, num_actions=TAXONOMY.num_actions)
    return trained(config, model, TAXONOMY, protocol, SEEN)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    return make_video(folder / "v.mp4", steady(61, fps=FPS), rate=FPS, size=VIDEO_SIZE, noise=40)


@pytest.fixture(params=MODELS)
def kind(request) -> str:
    return request.param


def probabilities(forecasts) -> np.ndarray:
    """Probability of each action [M A], whatever their order in a forecast."""
    return np.array([[dict(forecast.top)[name] for name in TAXONOMY.action_names] for forecast in forecasts])


def test_a_stream_says_what_windows_of_the_video_say(kind, video):
    model = sgear.Anticipator(make_trained(kind))
    windows = list(model.anticipate(video, every_s=0.5, top_k=6))
    stream = model.stream(top_k=6)
    live = [forecast for frame, t_s in sgear.camera(video) if (forecast := stream.push(frame, t_s))]
    assert [forecast.now_s for forecast in live] == pytest.approx([forecast.now_s for forecast in windows])
    # With TCA in mode decay a stream knows of frames that have left the window.
    alike = PROTOCOL.num_steps if kind == "sgear decay" else len(windows)
    np.testing.assert_allclose(probabilities(live)[:alike], probabilities(windows)[:alike], rtol=1e-5, atol=1e-5)
    assert np.ptp(probabilities(windows), axis=0).max() > 1e-3


def test_models_without_an_end_read_each_frame_once(kind, video):
    trained, frames = make_trained(kind), []
    trained.model.encoder.register_forward_hook(lambda module, inputs, output: frames.append(inputs[0].shape[1]))
    stream = sgear.Anticipator(trained).stream()
    for frame, t_s in sgear.camera(video):
        stream.push(frame, t_s)
    # The window before the first frame has no steps, and is read once, too.
    assert frames == [1] * (PROTOCOL.num_steps - 1 + 13) if kind in ENDLESS else [PROTOCOL.num_steps] * 13


@pytest.mark.parametrize("kind", ["avt", "sgear cumulative"])
def test_a_history_that_repeats_the_first_frame(kind, video):
    model = sgear.Anticipator(make_trained(kind, replace(PROTOCOL, short_history="repeat")))
    windows = list(model.anticipate(video, every_s=0.5, top_k=6))
    stream = model.stream(top_k=6)
    live = [forecast for frame, t_s in sgear.camera(video) if (forecast := stream.push(frame, t_s))]
    np.testing.assert_allclose(probabilities(live), probabilities(windows), rtol=1e-5, atol=1e-5)


def test_what_is_seen_is_the_frame_played_at_each_instant(video):
    """Frames at odd times, some instants without a frame of their own: the same as a video of these frames."""
    model = sgear.Anticipator(make_trained("avt"))
    images = [frame for frame, _ in sgear.camera(video)]
    times_s = [0.0, 0.3, 0.7, 1.9, 2.05, 3.0]
    stream, live = model.stream(top_k=6), []
    for image, t_s in zip(images, times_s, strict=False):
        live.append(stream.push(image, t_s))
    assert [None if forecast is None else forecast.now_s for forecast in live] == [0.0, None, 0.5, 1.5, 2.0, 3.0]
    # 0 shows image 0, 0.5 image 1, 1.0 and 1.5 image 2, 2.0 image 3, 2.5 image 4, 3.0 image 5.
    by_instant, expected = model.stream(top_k=6), []
    for step, image in enumerate([0, 1, 2, 2, 3, 4, 5]):
        expected.append(by_instant.push(images[image], 0.5 * step))
    assert live[-1].top == expected[-1].top
    assert live[3].top == expected[3].top


def test_memory_of_a_frame_may_be_used_again(video):
    model = sgear.Anticipator(make_trained("avt"))
    images = [frame for frame, _ in sgear.camera(video)]
    stream, other, memory = model.stream(), model.stream(), np.empty_like(images[0])
    for image, t_s in zip(images, [0.0, 0.4, 0.6, 1.3], strict=False):
        memory[:] = image
        assert stream.push(memory, t_s) == other.push(image, t_s)


def test_a_long_pause_starts_a_new_stream(video):
    model = sgear.Anticipator(make_trained("avt"))
    images = [frame for frame, _ in sgear.camera(video)]
    stream, fresh = model.stream(), model.stream()
    for step in range(4):
        stream.push(images[step], 0.5 * step)
    assert stream.push(images[9], 1000.0).top == fresh.push(images[9], 0.0).top
    stream.reset()
    assert stream.push(images[9], 0.0).top == fresh.push(images[9], 100.0).top


def test_frames_of_any_size_and_kind(video):
    model = sgear.Anticipator(make_trained("avt"))
    image = np.random.default_rng(0).integers(0, 256, (61, 99, 3), dtype=np.uint8)
    tops = [
        model.stream().push(frame, 0.0).top
        for frame in (image, torch.from_numpy(image), av.VideoFrame.from_ndarray(image, format="rgb24"))
    ]
    assert tops[0] == tops[1] == tops[2]
    stream = model.stream()
    stream.push(image, 0.0)
    assert stream.push(image[:40], 0.5) is not None


@pytest.mark.parametrize(
    ("frame", "t_s", "words"),
    [
        (np.zeros((24, 32, 3), np.uint8), float("nan"), "finite"),
        (np.zeros((24, 32, 3), np.uint8), -1.0, "in order of time"),
        (np.zeros((3, 24, 32), np.uint8), 1.0, "uint8 RGB"),
        (np.zeros((24, 32, 3), np.float32), 1.0, "uint8 RGB"),
    ],
)
def test_frames_that_cannot_be_taken_are_refused_and_nothing_is_lost(frame, t_s, words):
    stream = sgear.Anticipator(make_trained("avt")).stream()
    good = np.full((24, 32, 3), 90, np.uint8)
    stream.push(good, 0.0)
    with pytest.raises(ValueError, match=words):
        stream.push(frame, t_s)
    other = sgear.Anticipator(make_trained("avt")).stream()
    other.push(good, 0.0)
    assert stream.push(good, 0.5) == other.push(good, 0.5)


def test_a_model_is_loaded_from_its_run_its_folder_or_a_file(tmp_path, video):
    trained = make_trained("avt")
    save_model(trained, tmp_path / "run" / "model")
    expected = list(sgear.Anticipator(trained).anticipate(video))
    folder = tmp_path / "run" / "model"
    for place in (tmp_path / "run", folder, folder / "weights.safetensors", folder / "model.json", str(folder)):
        model = sgear.load(place, device="cpu")
        assert list(model.anticipate(video)) == expected
    assert (model.protocol, model.preprocessing) == (PROTOCOL, SEEN)
    assert model.taxonomy.action_names == TAXONOMY.action_names
    with pytest.raises(RunError, match="no such run or model"):
        sgear.load(tmp_path / "absent")
    with pytest.raises(RunError, match="holds no trained model"):
        sgear.load(tmp_path)
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        sgear.load(folder, device="tpu")


def test_models_that_read_no_frames_say_so(video):
    trained = make_trained("avt")
    for odd, words in [
        (replace(trained, preprocessing=Preprocessing(kind="features")), "stored features"),
        (replace(trained, protocol=RecognitionProtocol(num_steps=4)), "trained for recognition"),
    ]:
        model = sgear.Anticipator(odd)
        with pytest.raises(RunError, match=words):
            model.stream()
        with pytest.raises(RunError, match=words):
            next(model.anticipate(video))


def test_a_forecast_is_printed_drawn_and_written(video):
    forecast = next(sgear.Anticipator(make_trained("avt")).anticipate(video, top_k=2))
    name, probability = forecast.top[0]
    assert str(forecast).startswith(f"0.00 s, about 1.00 s: {name} {100 * probability:.0f}%, ")
    plain = np.full((90, 120, 3), 128, np.uint8)
    drawn = np.asarray(forecast.plot(plain))
    assert drawn.shape == (270, 360, 3)
    assert 0.02 < (drawn != 128).any(axis=-1).mean() < 0.5
    assert forecast.to_dict()["about_s"] == 1.0


def test_a_camera_that_is_not_there(tmp_path):
    with pytest.raises(VideoError, match="cannot be opened"):
        next(sgear.camera(97))
    with pytest.raises(VideoError, match="cannot be opened"):
        next(sgear.camera(tmp_path / "absent.mp4"))


def test_camera_frames_stand_upright(tmp_path):
    turned = make_video(tmp_path / "v.mp4", steady(3, fps=FPS), rate=FPS, size=(48, 64), rotation=90)
    frame, t_s = next(sgear.camera(turned))
    assert (frame.shape, t_s) == ((64, 48, 3), 0.0)


def test_the_lines_of_the_readme_run(tmp_path, video, monkeypatch, capsys):
    from sgear.kitchen import KitchenConfig, build_kitchen

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = readme.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    save_model(make_trained("avt"), Path("runs/quickstart/kitchen-sgear/model"))
    Path("video.mp4").write_bytes(video.read_bytes())
    small = KitchenConfig(num_train_videos=4, num_validation_videos=2, num_participants=3, num_unseen_participants=1)
    build_kitchen(Path("my_kitchen"), small, num_processes=1, with_videos=False)
    names: dict = {}
    exec(lines, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("0.00 s, about 1.00 s: ")
    assert said[7].startswith("0.0 ('")
    assert names["network"].bank.visual.shape == (3806, 768)
    assert dict(sgear.evaluate(names["run"].path)) == dict(names["scores"])


@pytest.mark.parametrize("draws", [False, True])
def test_a_forecast_opens_its_video_once_with_or_without_an_overlay(video, tmp_path, monkeypatch, draws):
    save_model(make_trained("avt"), tmp_path / "model")
    opened, open_any = [], av.open

    def counting(file, *args, **options):
        opened.append(str(file))
        return open_any(file, *args, **options)

    monkeypatch.setattr(av, "open", counting)
    out = tmp_path / "drawn.mp4" if draws else None
    run_anticipate(video, tmp_path / "model", every_s=0.5, top_k=3, as_json=True, out=out, device="cpu")
    assert [file for file in opened if str(video) in file] == [f"file:{video}"]
