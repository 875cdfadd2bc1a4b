"""Pixels and files: what the videos show, and how they are encoded."""

from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from sgear.kitchen import TAU_A_S, KitchenConfig, KitchenWorld, VideoRenderer, kitchen_law, make_world, render_video
from sgear.kitchen.render import KEY_FRAME_DISTANCE
from sgear.kitchen.scene import Hands, Moment, paste_action

CONFIG = KitchenConfig(
    seed=4,
    num_train_videos=1,
    num_validation_videos=1,
    num_participants=2,
    num_unseen_participants=0,
    actions_per_video=3,
)


@pytest.fixture(scope="module")
def world() -> KitchenWorld:
    return make_world(CONFIG)


@pytest.fixture(scope="module")
def video_file(world: KitchenWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "P01_01.mp4"
    render_video(world, "P01_01", path)
    return path


def test_video_has_the_promised_size_rate_length_and_key_frames(world: KitchenWorld, video_file: Path) -> None:
    with av.open(str(video_file)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 384, 256)
        assert stream.average_rate == 30
        key_frames = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
    assert len(key_frames) == round(world.video("P01_01").duration_s * 30)
    assert np.flatnonzero(key_frames).tolist() == list(range(0, len(key_frames), KEY_FRAME_DISTANCE))


def test_decoded_frames_are_the_rendered_ones(world: KitchenWorld, video_file: Path) -> None:
    renderer = VideoRenderer(world, "P01_01")
    with av.open(str(video_file)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            assert frame.time == pytest.approx(index / 30)
            if index % 40 == 0:
                shown = frame.to_ndarray(format="rgb24").astype(float)
                # Lossy coding and halved chroma cost a few grey levels; another frame of the video costs far more.
                assert np.abs(shown - renderer.frame(index)).mean() < 6


def test_same_seed_gives_same_bytes(world: KitchenWorld, video_file: Path, tmp_path: Path) -> None:
    render_video(make_world(CONFIG), "P01_01", tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == video_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.mp4"]


def test_actions_move_at_the_frame_rate(world: KitchenWorld) -> None:
    renderer = VideoRenderer(world, "P01_01")
    for segment in world.video("P01_01").segments:
        frames = [renderer.frame(i) for i in range(round(segment.start_s * 30) + 1, round(segment.stop_s * 30) - 1)]
        moves = [not np.array_equal(before, after) for before, after in pairwise(frames)]
        assert np.mean(moves) > 0.6


def test_every_two_actions_look_different_at_the_size_of_a_small_model() -> None:
    hands = Hands.drawn((198, 138, 98), (60, 120, 110))
    images = []
    for verb, noun in kitchen_law().actions:
        views = []
        for phase in (0.1, 0.5, 0.9):
            stage = Image.new("RGB", (384, 256), (150, 140, 130))
            paste_action(stage, verb, Moment(noun, 192, 128, phase, 1.5 * phase), hands)
            views.append(np.asarray(stage.resize((144, 96), Image.Resampling.BOX), dtype=float).ravel())
        images.append(np.concatenate(views))
    distances = pdist(np.stack(images), "cityblock") / images[0].size
    first, second = list(combinations(kitchen_law().actions, 2))[distances.argmin()]
    assert distances.min() > 1.5, f"{first} and {second} look alike"


@pytest.mark.parametrize("changed", [1, 2])
def test_pixels_until_tau_a_before_an_action_do_not_depend_on_it(world: KitchenWorld, changed: int) -> None:
    video = world.video("P01_01")
    other_action = kitchen_law().action_ids["wash", "pan"]
    segments = tuple(
        replace(segment, action=other_action if index >= changed else segment.action)
        for index, segment in enumerate(video.segments)
    )
    assert segments != video.segments
    other_world = replace(world, videos=(replace(video, segments=segments),))
    one, other = VideoRenderer(world, "P01_01"), VideoRenderer(other_world, "P01_01")
    last_idx = int((segments[changed].start_s - TAU_A_S) * 30 + 1e-6)
    for index in range(0, last_idx + 1, 3):
        np.testing.assert_array_equal(one.frame(index), other.frame(index))
    np.testing.assert_array_equal(one.frame(last_idx), other.frame(last_idx))
    inside = round(segments[changed].start_s * 30) + 8
    assert not np.array_equal(one.frame(inside), other.frame(inside))
