"""One way from frames to what a model reads: training data, evaluation, extraction and streaming give the same bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from coded_videos import build_frame_cache, make_video, steady
from torch.utils.data import DataLoader
from video_models import avt, frame_encoder, note_clips, segments_at, trained, vit

from sgear.anticipator import Anticipator
from sgear.data import AnticipationDataset, StepLabels, VideoSource, collate
from sgear.data.frames import FrameReader
from sgear.errors import RunError
from sgear.features import FeatureStoreWriter
from sgear.features.extract import extract
from sgear.models import EncoderConfig, RulstmConfig, build_model, model_config
from sgear.models.encoders.extraction import run_frame_encoder
from sgear.models.pretrained import Preprocessing, TrainedModel, save_model
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol
from sgear.training.config import RuntimeConfig
from sgear.training.evaluate import run_model
from sgear.training.loop import make_accelerator
from sgear.video.pool import ReadingSize, VideoPool
from sgear.video.transforms import VIEWS, ClipTransform, finish_clip

VIDEO = (80, 120)
SIZE = (24, 32)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=2.0, fps=2.0)
TRANSFORM = ClipTransform(
    *SIZE, MEAN, STD, crop_margin=0.1, scale_jitter=(0.0, 0.3), flip=True, brightness=0.3, contrast=0.3
)
SEEN = Preprocessing(kind="video", height=24, width=32, mean=MEAN, std=STD, crop_margin=0.1, reading_margin=0.3)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", steady(61, fps=10), rate=10, size=VIDEO, noise=30)


@pytest.fixture(scope="module", params=["cache", "videos"])
def frames(request, video) -> FrameReader:
    """Both ways in which a data set reads videos."""
    if request.param == "videos":
        return VideoPool({"v": video}, size=ReadingSize(*SIZE, TRANSFORM.reading_margin))
    height, width = ReadingSize(*SIZE, TRANSFORM.reading_margin)(VIDEO)
    return build_frame_cache(
        {"v": video}, video.parent / "cache", height=height, width=width, fps=10.0, num_processes=1
    )


def make_samples(frames: FrameReader, starts_s: list[float], *, seed: int | None) -> AnticipationDataset:
    table = segments_at(starts_s, TAXONOMY)
    return AnticipationDataset(table, PROTOCOL, StepLabels(table), VideoSource(frames, TRANSFORM), seed=seed)


def make_trained() -> TrainedModel:
    config, model = avt(vit(*SIZE, 32), width=32, num_steps=PROTOCOL.num_steps, num_actions=3)
    return trained(config, model, TAXONOMY, PROTOCOL, SEEN)


@pytest.mark.parametrize("seed", [None, 0])
def test_the_loader_gives_uint8_frames_and_a_few_numbers_of_colour(frames, seed):
    samples = make_samples(frames, [1.5, 4.0], seed=seed)
    batch = next(iter(DataLoader(samples, batch_size=2, collate_fn=collate)))
    assert (batch["clip"].dtype, batch["clip"].shape) == (torch.uint8, (2, 4, 3, *SIZE))
    assert (batch["colour"].dtype, batch["colour"].shape) == (torch.float32, (2, 4, 3))
    assert batch["mask"].tolist() == [[False, False, True, True], [True] * 4]
    assert batch["clip"][0, :2].eq(0).all()
    assert torch.equal(batch["colour"][:, 2:], torch.tensor([MEAN, STD]).expand(2, -1, -1))
    is_plain = torch.equal(batch["colour"][:, :2], torch.tensor([1.0, 0.0])[None, :, None].expand(2, -1, 3))
    assert is_plain == (seed is None)


def test_a_stream_reads_the_bits_of_the_evaluation(frames, video):
    made = make_trained()
    model = made.model
    clips = note_clips(model)
    forecasts = list(Anticipator(made).anticipate(video, every_s=0.5))
    streamed = torch.cat([clip for clip, _ in clips])
    clips.clear()
    samples = make_samples(frames, [forecast.now_s + PROTOCOL.tau_a_s for forecast in forecasts], seed=None)
    outputs = run_model(model, samples, make_accelerator(RuntimeConfig(device="cpu")), batch_size=16)
    assert len(forecasts) == 13
    assert torch.equal(streamed, torch.cat([clip for clip, _ in clips]))
    best = outputs.logits.softmax(dim=-1).max(dim=-1).values.tolist()
    assert [forecast.top[0][1] for forecast in forecasts] == best


def test_a_forecast_of_several_steps_is_a_roll_out_from_what_was_seen(video):
    made = make_trained()
    model, outputs = made.model, []
    model.register_forward_hook(lambda module, inputs, output: outputs.append((inputs[1], output.observed)))
    forecasts = list(Anticipator(made).anticipate(video, every_s=2.0, steps_ahead=3))
    ((mask, observed),) = outputs
    with torch.no_grad():
        probs = model.rollout(observed, 3, mask).logits.softmax(dim=-1)
    assert [forecast.now_s for forecast in forecasts] == [0.0, 2.0, 4.0, 6.0]
    for forecast, expected in zip(forecasts, probs, strict=True):
        assert [step.ahead_s for step in forecast.later] == [1.5, 2.0]
        for top, row in zip((forecast.top, *(step.top for step in forecast.later)), expected, strict=True):
            assert [TAXONOMY.action_names.index(name) for name, _ in top] == row.argsort(descending=True).tolist()
            np.testing.assert_allclose([share for _, share in top], sorted(row.tolist(), reverse=True), rtol=1e-5)
        told = forecast.to_dict()
        assert [step["about_s"] for step in told["later"]] == [forecast.now_s + 1.5, forecast.now_s + 2.0]
    alone = list(Anticipator(make_trained()).anticipate(video, every_s=2.0))
    assert [forecast.top for forecast in alone] == [forecast.top for forecast in forecasts]
    assert "later" not in alone[0].to_dict()


def test_a_model_without_a_roll_out_says_so(video):
    config = model_config(name="rulstm", encoder=EncoderConfig(feature_dim=5), rulstm=RulstmConfig(modalities=[5]))
    model = build_model(config, num_actions=TAXONOMY.num_actions)
    with pytest.raises(RunError, match="predicts one step"):
        next(Anticipator(replace(make_trained(), model=model)).anticipate(video, steps_ahead=2))


def test_a_stream_goes_on_while_the_last_frame_is_held(tmp_path):
    path = make_video(tmp_path / "held.mp4", steady(30, 10), rate=10, held_s=2.5)
    forecasts = list(Anticipator(make_trained()).anticipate(path, every_s=1.0))
    assert [forecast.now_s for forecast in forecasts] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("view", ["centre", "three-crop-flip"])
def test_an_extraction_encodes_the_bits_of_the_evaluation(frames, video, tmp_path, view):
    num_values = 3 * SIZE[0] * SIZE[1]
    encoder = frame_encoder(lambda frames: frames.flatten(1), "pixels", num_values, SEEN)
    writer = FeatureStoreWriter(tmp_path, encoder.provenance(fps=2.0, views=view), width=num_values)
    extract(encoder, {"v": video}, writer, fps=2.0, batch_size=3, views=view)
    rows = torch.from_numpy(np.array(writer.finish()["v"].features))
    instants_s = np.arange(len(rows)) / 2
    seen = []
    for each in VIEWS[view]:
        read = VideoSource(frames, TRANSFORM, each).read("v", instants_s, None)
        seen.append(finish_clip(read.steps[None], read.colour[None])[0].flatten(1))
    assert len(rows) == 13
    assert torch.equal(rows, torch.stack(seen).mean(dim=0))


def test_the_encoder_of_a_run_extracts_from_the_bits_of_the_evaluation(frames, video, tmp_path):
    made = make_trained()
    save_model(made, tmp_path / "run" / "model")
    encoder = run_frame_encoder(tmp_path / "run")
    writer = FeatureStoreWriter(tmp_path / "store", encoder.provenance(fps=2.0, views="centre"), width=encoder.width)
    extract(encoder, {"v": video}, writer, fps=2.0, batch_size=13)
    rows = torch.from_numpy(np.array(writer.finish()["v"].features))
    read = VideoSource(frames, TRANSFORM).read("v", np.arange(13) / 2, None)
    with torch.inference_mode():
        tokens = made.model.get_submodule("encoder")(finish_clip(read.steps[None], read.colour[None]))
    assert torch.equal(rows, tokens[0, :, 0])
