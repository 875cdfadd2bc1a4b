import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from feature_videos import HEIGHT, WIDTH, write_video
from PIL import Image
from safetensors.torch import load_file, save_file

from sgear.errors import ConfigError, FeatureError, RunError, VideoError
from sgear.features import FeatureStoreWriter
from sgear.features.extract import FrameEncoder, extract
from sgear.models.encoders.extraction import timm_frame_encoder
from sgear.torchvision_guard import import_timm
from sgear.video.base import Video
from sgear.video.pool import open_video


def half_means(frames: torch.Tensor) -> torch.Tensor:
    """Brightness of the left and of the right half."""
    halves = frames.mean(dim=1).chunk(2, dim=-1)
    return torch.stack([half.mean(dim=(-2, -1)) for half in halves], dim=1)


ENCODER = FrameEncoder(
    encode=half_means,
    name="halves",
    weights="none",
    width=2,
    image_height=24,
    image_width=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    crop_margin=0.0,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("videos")
    return {name: write_video(root / f"{name}.mp4", num) for name, num in (("a", 45), ("b", 31), ("c", 20), ("d", 7))}


def writer_of(
    root: Path, encoder: FrameEncoder = ENCODER, *, fps: float = 2.0, views: str = "centre"
) -> FeatureStoreWriter:
    return FeatureStoreWriter(root, encoder.provenance(fps=fps, views=views), width=encoder.width)


def test_every_row_is_the_frame_on_screen_at_its_time(videos, tmp_path):
    result = extract(ENCODER, videos, writer_of(tmp_path), fps=2.0, batch_size=4)
    assert result.done == ["a", "b", "c", "d"]
    store = writer_of(tmp_path).finish()
    video = store["a"]
    assert video.times_s.tolist() == [index / 2 for index in range(9)]
    brightness = (2 * np.arange(0, 45, 5) + 20) / 255
    assert video.features[:, 0] == pytest.approx(brightness, abs=0.02)
    assert video.features[:, 1] == pytest.approx(10 / 255, abs=0.02)
    assert len(store["d"].times_s) == 2


def test_the_size_of_a_batch_changes_nothing(videos, tmp_path):
    stores = []
    for batch_size in (1, 100):
        writer = writer_of(tmp_path / str(batch_size))
        extract(ENCODER, videos, writer, fps=2.0, batch_size=batch_size)
        stores.append(writer.finish())
    assert np.array_equal(stores[0]["a"].features, stores[1]["a"].features)


def test_flipped_views_are_averaged(videos, tmp_path):
    writer = writer_of(tmp_path, views="three-crop-flip")
    extract(ENCODER, videos, writer, fps=2.0, views="three-crop-flip")
    features = writer.finish()["a"].features
    assert features[:, 0] == pytest.approx(features[:, 1], abs=1e-6)


def test_single_views_average_to_the_views_together(videos, tmp_path):
    rows = {}
    names = [f"{place}{flip}" for flip in ("", "-flip") for place in ("left", "centre", "right")]
    for views in (*names, "three-crop", "three-crop-flip"):
        # A narrow crop, so that the places differ.
        narrow = replace(ENCODER, image_height=24, image_width=12)
        writer = writer_of(tmp_path / views, narrow, views=views)
        extract(narrow, {"c": videos["c"]}, writer, fps=2.0, views=views)
        rows[views] = writer.finish()["c"].features
    assert rows["left"].mean() > rows["centre"].mean() > rows["right"].mean()
    assert np.array_equal(rows["left-flip"], rows["left"][:, ::-1])
    assert rows["three-crop"] == pytest.approx(np.mean([rows[name] for name in names[:3]], axis=0), abs=1e-6)
    assert rows["three-crop-flip"] == pytest.approx(np.mean([rows[name] for name in names], axis=0), abs=1e-6)


def test_finished_videos_are_kept_and_the_rest_is_done(videos, tmp_path):
    some = {name: videos[name] for name in ("a", "c")}
    extract(ENCODER, some, writer_of(tmp_path), fps=2.0)
    reports = []
    result = extract(ENCODER, videos, writer_of(tmp_path), fps=2.0, progress=lambda *told: reports.append(told))
    assert (result.kept, result.done) == (["a", "c"], ["b", "d"])
    total = sum(videos[name].stat().st_size for name in ("b", "d"))
    assert reports[-1] == (total, total)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_progress_ends_at_all_whoever_did_it(videos, tmp_path):
    """Two workers at once: what the other one holds or has done is done for the bar, too."""
    reports = []

    def half_way(frames: torch.Tensor) -> torch.Tensor:
        other = writer_of(tmp_path)
        if not other.is_finished("d"):
            other.write("d", np.array([0.0]), np.zeros((1, 2), dtype=np.float32))
        return half_means(frames)

    with writer_of(tmp_path).take("c"):
        result = extract(
            replace(ENCODER, encode=half_way),
            videos,
            writer_of(tmp_path),
            fps=2.0,
            batch_size=1,
            progress=lambda *told: reports.append(told),
        )
    assert (result.done, result.kept, result.elsewhere) == (["a", "b"], ["d"], ["c"])
    total = sum(path.stat().st_size for path in videos.values())
    assert reports[-1] == (total, total)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_progress_counts_folders_of_images(tmp_path):
    for number in range(8):
        (tmp_path / "p").mkdir(exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(tmp_path / "p" / f"frame_{number + 1:010d}.jpg")
    reports = []
    extract(
        ENCODER,
        {"p": tmp_path / "p"},
        writer_of(tmp_path / "store"),
        fps=2.0,
        frame_fps={"p": 2.0},
        batch_size=4,
        progress=lambda *told: reports.append(told),
    )
    total = reports[-1][1]
    assert total > 0
    assert [done for done, _ in reports] == [total // 2, total, total]


def test_a_video_that_is_not_the_right_one_is_refused_by_its_check(videos, tmp_path):
    def check(video_id: str, video: Video) -> None:
        if video.duration_s < 1:
            raise VideoError(f"{video.path}: too short for {video_id}")

    result = extract(ENCODER, videos, writer_of(tmp_path), fps=2.0, check=check)
    assert list(result.failures) == ["d"]
    assert result.failures["d"].endswith("d.mp4: too short for d")
    assert result.done == ["a", "b", "c"]


def test_shards_together_do_everything_once(videos, tmp_path):
    results = [extract(ENCODER, videos, writer_of(tmp_path), fps=2.0, shard=(index, 2)) for index in range(2)]
    assert [result.done for result in results] == [["a", "c"], ["b", "d"]]
    assert all(not result.kept and not result.elsewhere for result in results)


def test_a_video_of_another_worker_is_left_to_it(videos, tmp_path):
    writer = writer_of(tmp_path)
    with writer.take("b"):
        result = extract(ENCODER, videos, writer_of(tmp_path), fps=2.0)
    assert result.elsewhere == ["b"]
    assert result.done == ["a", "c", "d"]


def test_a_video_that_fails_is_named_after_the_others_are_done(videos, tmp_path):
    bad = tmp_path / "b.mp4"
    bad.write_bytes(videos["b"].read_bytes()[:300])
    writer = writer_of(tmp_path / "store")
    result = extract(ENCODER, videos | {"b": bad, "bb": tmp_path / "bb.mp4"}, writer, fps=2.0)
    assert result.done == ["a", "c", "d"]
    with pytest.raises(FeatureError, match=r"2 videos could not be extracted, 3 others are done:\n.*b\.mp4"):
        result.raise_failures()
    assert extract(ENCODER, videos, writer, fps=2.0).done == ["b"]


def test_an_encoder_that_fails_leaves_no_lock_behind(videos, tmp_path):
    def fail(frames: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        extract(replace(ENCODER, encode=fail), videos, writer_of(tmp_path), fps=2.0, batch_size=2)
    assert not (tmp_path / "locks").exists()
    assert len(extract(ENCODER, videos, writer_of(tmp_path), fps=2.0).done) == 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoding")]


def test_an_encoder_of_another_width_is_refused(videos, tmp_path):
    wider = replace(ENCODER, width=3)
    with pytest.raises(FeatureError, match=r"'halves' gave features \(8, 2\) for 8 frames, expected \(8, 3\)"):
        extract(wider, {"a": videos["a"]}, writer_of(tmp_path, wider), fps=2.0, batch_size=8)


def test_a_store_of_another_rate_is_refused(videos, tmp_path):
    with pytest.raises(FeatureError, match=r"made for .*'fps': 2\.0.*, but this extraction gives .*'fps': 4\.0"):
        extract(ENCODER, videos, writer_of(tmp_path), fps=4.0)


def test_more_rows_than_frames_repeat_what_is_on_screen(videos, tmp_path):
    writer = writer_of(tmp_path, fps=25.0)
    extract(ENCODER, {"d": videos["d"]}, writer, fps=25.0)
    brightness = writer.finish()["d"].features[:, 0]
    assert len(brightness) == 18
    assert np.array_equal(brightness[:3], brightness[[0, 0, 0]])


def test_rows_go_on_while_the_last_frame_is_held(tmp_path):
    path = tmp_path / "held.mkv"
    with av.open(str(write_video(tmp_path / "video.mp4", 10))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        packets[-1].duration = round(3 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    writer = writer_of(tmp_path / "store")
    extract(ENCODER, {"v": path}, writer, fps=2.0)
    video = writer.finish()["v"]
    with open_video(path) as opened:
        assert opened.end_s == pytest.approx(3.9, abs=0.01)
    assert video.times_s.tolist() == [index / 2 for index in range(8)]
    video.read(np.array([3.8]))


def test_a_single_row_stands_as_long_as_rows_of_its_store_do(videos, tmp_path):
    writer = writer_of(tmp_path, fps=1.0)
    extract(ENCODER, {"d": videos["d"]}, writer, fps=1.0)
    video = writer.finish()["d"]
    assert len(video.times_s) == 1
    video.read(np.array([0.6]))
    with pytest.raises(FeatureError, match=r"asked for 4\.000"):
        video.read(np.array([4.0]))


def test_a_network_of_timm_has_a_digest_and_its_own_preprocessing(videos, tmp_path):
    network = timm_frame_encoder("test_resnet", pretrained=False)
    assert (network.image_height, network.image_width) == (160, 160)
    writer = writer_of(tmp_path, network, fps=1.0)
    extract(network, {"d": videos["d"]}, writer, fps=1.0)
    store = writer.finish()
    assert store.width == network.width
    assert store.description.weights == network.weights


def test_weights_without_training_are_drawn_by_the_name_of_the_network(videos, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first = timm_frame_encoder("test_resnet", pretrained=False)
    assert torch.rand(1) == expected, "nobody else's random numbers change"
    assert timm_frame_encoder("test_resnet", pretrained=False).weights == first.weights
    # So an extraction goes on where it stopped, and workers share a store.
    extract(first, {"c": videos["c"]}, writer_of(tmp_path, first, fps=1.0), fps=1.0)
    again = timm_frame_encoder("test_resnet", pretrained=False)
    assert extract(again, videos, writer_of(tmp_path, again, fps=1.0), fps=1.0).kept == ["c"]


NETWORKS = ["test_resnet", "test_convnext", "test_efficientnet", "test_vit", "mobilenetv3_small_050"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_local_checkpoint_with_its_classifier_is_read_by_any_network(name, tmp_path):
    timm = import_timm()
    torch.manual_seed(5)
    trained = timm.create_model(name).eval()
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "trained.pth")
    network = timm_frame_encoder(name, weights=tmp_path / "trained.pth")
    frames = torch.randn(2, 3, network.image_height, network.image_width)
    with torch.inference_mode():
        expected = trained.forward_head(trained.forward_features(frames), pre_logits=True)
        assert torch.allclose(network.encode(frames), expected, atol=1e-5)
    assert expected.shape == (2, network.width)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    timm = import_timm()
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    for name in ("test_resnet", "test_efficientnet", "test_vit"):
        with pytest.raises(RunError, match=r"other\.pth: (not the weights of|does not fit)"):
            timm_frame_encoder(name, weights=tmp_path / "other.pth")


def test_published_weights_are_taken_whole_or_refused(tmp_path):
    timm = import_timm()
    published = timm.create_model("test_resnet")
    timm.models.save_for_hf(published, str(tmp_path), model_config={}, safe_serialization=True)
    network = timm_frame_encoder(f"local-dir:{tmp_path}")
    frames = torch.randn(1, 3, network.image_height, network.image_width)
    with torch.inference_mode():
        expected = published.eval().forward_head(published.forward_features(frames), pre_logits=True)
    assert torch.allclose(network.encode(frames), expected, atol=1e-5)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if name != "conv1.0.weight"}, tmp_path / "model.safetensors"
    )
    with pytest.raises(RunError, match=r"have nothing for 1 tensors .*conv1\.0\.weight"):
        timm_frame_encoder(f"local-dir:{tmp_path}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    for device in ("cuda", "no_such_device"):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used: .*; take cpu"):
            timm_frame_encoder("test_resnet", pretrained=False, device=device)
