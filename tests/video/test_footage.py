"""From `dataset.video_roots` and `source` to frames: the same pixels from a cache, from videos, from images."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coded_videos import HEIGHT, WIDTH, make_video, numbers_in, steady
from PIL import Image

from sgear.data.frames import FrameReader
from sgear.errors import ConfigError, SgearError, VideoError
from sgear.experiment import compose_experiment
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, VideoSourceConfig
from sgear.experiment.sources import open_frames, video_roots
from sgear.kitchen.recipes import NOUNS, VERBS
from sgear.models.pretrained import Preprocessing
from sgear.video import VideoReader

FPS = 10
NUM_FRAMES = 24
# As large as the videos, so that images of their frames are not resized and stay what they are.
SAME = Preprocessing(kind="video", height=HEIGHT, width=WIDTH)
SMALL = Preprocessing(kind="video", height=20, width=24, crop_margin=0.1)
INSTANTS_S = np.array([0.0, 0.31, 1.999, 0.31, 2.3])


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "P01_01.MP4", steady(NUM_FRAMES, FPS), rate=FPS)


@pytest.fixture(scope="module")
def folder(video, tmp_path_factory) -> Path:
    """The frames of the video as lossless images."""
    out = tmp_path_factory.mktemp("images") / "rgb_frames" / "P01_01"
    out.mkdir(parents=True)
    with VideoReader(video) as reader:
        for number, (frame, _) in enumerate(reader.iterate(), start=1):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(out / f"frame_{number:010d}.png")
    return out


@pytest.fixture(scope="module")
def archive(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tar") / "P01_01.tar"
    with tarfile.open(out, "w") as tar:
        for image in sorted(folder.iterdir()):
            tar.add(image, arcname=f"./{image.name}")
    return out


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set whose annotations say how long the video is, and how many frames a second its camera took."""
    annotations = tmp_path / "data" / "annotations"
    annotations.mkdir(parents=True)
    for names, field in ((VERBS, "verb"), (NOUNS, "noun")):
        (annotations / f"EPIC_100_{field}_classes.csv").write_text("id,key\n0," + names[0] + "\n")
    write_info(tmp_path / "data", duration_s=NUM_FRAMES / FPS)
    return tmp_path / "data"


def write_info(root: Path, duration_s: float, fps: float = FPS) -> None:
    text = f"video_id,duration,fps,resolution\nP01_01,{duration_s},{fps},{WIDTH}x{HEIGHT}\n"
    (root / "annotations" / "EPIC_100_video_info.csv").write_text(text)


def experiment(root: Path, place: Path, name: str = "kitchen", **source) -> ExperimentConfig:
    dataset = DatasetConfig(name=name, root=str(root), video_roots=[str(place.parent)])
    return ExperimentConfig(dataset=dataset, source=VideoSourceConfig(**source))


def read(config: ExperimentConfig, preprocessing: Preprocessing = SAME) -> FrameReader:
    return open_frames(config, ["P01_01"], preprocessing)


@pytest.mark.parametrize("preprocessing", [SAME, SMALL])
@pytest.mark.parametrize("kind", ["video", "folder", "archive"])
def test_a_cache_that_keeps_every_frame_gives_the_pixels_of_the_videos(root, kind, preprocessing, request):
    place = request.getfixturevalue(kind)
    cached = read(experiment(root, place, reading="cache", cache_fps=4.0 * FPS), preprocessing)
    direct = read(experiment(root, place, reading="videos"), preprocessing)
    ours, theirs = (reader.frames_played_at("P01_01", INSTANTS_S) for reader in (cached, direct))
    assert (ours.frames == theirs.frames).all()
    np.testing.assert_array_equal(ours.pts_s, theirs.pts_s)
    assert cached.span_s("P01_01") == pytest.approx(direct.span_s("P01_01"), abs=1e-9)


@pytest.mark.parametrize("reading", ["cache", "videos"])
def test_images_of_a_video_give_the_pixels_and_times_of_the_video(root, video, folder, archive, reading):
    cache_fps = 4.0 * FPS if reading == "cache" else VideoSourceConfig().cache_fps
    of_video, of_folder, of_archive = (
        read(experiment(root, place, reading=reading, cache_fps=cache_fps)).frames_played_at("P01_01", INSTANTS_S)
        for place in (video, folder, archive)
    )
    for other in (of_folder, of_archive):
        assert (other.frames == of_video.frames).all()
        np.testing.assert_allclose(other.pts_s, of_video.pts_s, atol=1e-9)
    assert numbers_in(of_video.frames) == [0, 3, 19, 3, 23]


def test_a_cache_of_images_at_a_low_rate_keeps_those_played_at_its_instants(root, folder):
    frames = read(experiment(root, folder, cache_fps=3.0)).frames_played_at("P01_01", np.array([0.25, 0.4, 1.05, 2.29]))
    assert numbers_in(frames.frames) == [0, 3, 10, 20]


def test_a_missing_image_is_an_error_in_a_cache_and_the_rest_is_kept(root, folder, tmp_path):
    copy = tmp_path / "damaged" / "P01_01"
    copy.mkdir(parents=True)
    for image in folder.iterdir():
        if image.stem != "frame_0000000005":
            (copy / image.name).write_bytes(image.read_bytes())
    frames = read(experiment(root, copy, cache_fps=4.0 * FPS))
    assert numbers_in(frames.frames_played_at("P01_01", [0.35, 0.55]).frames) == [3, 5]
    with pytest.raises(VideoError, match=r"t = 0\.450 s"):
        frames.frames_played_at("P01_01", [0.45])


def test_a_video_is_read_from_the_first_root_that_holds_it(root, video, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for number, place in enumerate((first, second)):
        place.mkdir()
        make_video(place / "P01_01.mp4", steady(4 + number, FPS), rate=FPS)
    for roots, num_frames in (((first, second), 4), ((second, first), 5)):
        dataset = DatasetConfig(root=str(root), video_roots=[str(place) for place in roots])
        frames = read(ExperimentConfig(dataset=dataset, source=VideoSourceConfig(reading="videos")))
        assert frames.span_s("P01_01")[1] == pytest.approx((num_frames - 1) / FPS)


# --- the rate of images ------------------------------------------------------------------------------------------


def test_a_given_rate_numbers_the_images(root, folder):
    wrong = experiment(root, folder, reading="videos", frame_fps=5.0)
    with pytest.raises(VideoError, match=r"last 4\.800 s.* says 2\.400 s.*source\.check_clock=false"):
        read(wrong).frames_played_at("P01_01", [1.0])
    accepted = replace(wrong, source=replace(wrong.source, check_clock=False))
    assert numbers_in(read(accepted).frames_played_at("P01_01", [1.0]).frames) == [5]


@pytest.mark.parametrize("reading", ["cache", "videos"])
def test_images_that_do_not_last_as_long_as_their_video_are_refused(root, folder, reading):
    write_info(root, duration_s=2 * NUM_FRAMES / FPS)
    frames = read(experiment(root, folder, reading=reading))
    with pytest.raises(VideoError, match=r"last 2\.400 s.* says 4\.800 s.* about 5\.00 to the second"):
        frames.frames_played_at("P01_01", [1.0])


def test_images_of_epic_kitchens_are_numbered_as_published_not_as_the_camera_took_them(root, folder):
    write_info(root, duration_s=NUM_FRAMES / 60, fps=29.97)
    frames = read(experiment(root, folder, name="epic100", reading="videos")).frames_played_at("P01_01", [0.2])
    assert numbers_in(frames.frames) == [12]


def test_images_of_unknown_rate_are_refused_with_the_setting_that_names_it(root, folder):
    with pytest.raises(VideoError, match=r"csv does not say it of 1 of 1 such videos.*set source\.frame_fps"):
        read(experiment(root, folder, name="csv", reading="videos"))


def test_a_rate_without_images_is_refused(root, video):
    with pytest.raises(ConfigError, match=r"source\.frame_fps=30 has no effect: all 1 videos are video files"):
        read(experiment(root, video, frame_fps=30.0))


# --- wrong settings ------------------------------------------------------------------------------------------------


def test_a_missing_video_names_the_roots_and_the_setting(root, video):
    with pytest.raises(VideoError, match=r"1 of 2 annotated videos are missing: 'P01_02'\..*dataset\.video_roots"):
        open_frames(experiment(root, video), ["P01_01", "P01_02"], SAME)


def test_a_root_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"video_roots: .*none: no such folder"):
        video_roots(DatasetConfig(video_roots=[str(tmp_path), str(tmp_path / "none")]))


@pytest.mark.parametrize(
    "overrides",
    [
        ["source.reading=videos", "source.cache_fps=2.0"],
        ["source.reading=tape"],
        ["source.decoder=torchcodec"],
        ["source.frame_fps=-1"],
        ["experiment=epic100/tsn", "source.reading=videos"],
        ["experiment=epic100/tsn", "source.frame_fps=30.0"],
        ["experiment=epic100/tsn", "dataset.video_roots=[videos]"],
    ],
)
def test_settings_of_videos_that_nothing_reads_are_refused(overrides):
    with pytest.raises(SgearError, match=r"has no (effect|setting)|unknown|out of range"):
        compose_experiment(overrides)
