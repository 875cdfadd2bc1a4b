"""Of several video tracks the one is read that players show, by every reader, and the others are mentioned once."""

import json
from fractions import Fraction

import av
import pytest
from av.stream import Disposition
from coded_videos import image_of, numbers_in
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.video import open_video, write_overlay
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.verify import VideoToCheck, verify_video

SMALL, LARGE = (48, 64), (96, 128)


def _video(path, sizes, default):
    """Write a video whose images are numbered from 0 in its first track, from 100 in its second, ..."""
    with av.open(str(path), "w") as container:
        tracks = []
        for idx, (height, width) in enumerate(sizes):
            track = container.add_stream("libx264", rate=10)
            track.height, track.width, track.pix_fmt = height, width, "yuv420p"
            track.disposition = Disposition.default if idx == default else Disposition(0)
            tracks.append(track)
        for number in range(10):
            for idx, track in enumerate(tracks):
                image = av.VideoFrame.from_ndarray(image_of(number + 100 * idx, *sizes[idx]), format="rgb24")
                image.pts, image.time_base = number, Fraction(1, 10)
                container.mux(track.encode(image))
        for track in tracks:
            container.mux(track.encode())
    return path


def _first_number(path):
    with open_video(path) as video:
        return numbers_in(video.frames_played_at([0.0]).frames)[0]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(("sizes", "default", "read"), [((LARGE, SMALL), 1, 1), ((SMALL, LARGE), 0, 0)])
def test_the_default_track_is_read_whatever_its_place_and_size(tmp_path, suffix, sizes, default, read):
    assert _first_number(_video(tmp_path / f"video{suffix}", sizes, default)) == 100 * read


@pytest.mark.parametrize(("sizes", "read"), [((SMALL, LARGE), 1), ((LARGE, SMALL), 0), ((SMALL, SMALL), 0)])
def test_without_a_default_track_the_largest_is_read_and_of_equal_ones_the_first(tmp_path, sizes, read):
    assert _first_number(_video(tmp_path / "video.ts", sizes, None)) == 100 * read


def test_copies_checks_and_overlays_take_the_same_track(tmp_path):
    path = _video(tmp_path / "video.mkv", (SMALL, LARGE), 1)
    make_copy(path, tmp_path / "copy.mp4", CopySettings(short_side=96))
    write_overlay(path, tmp_path / "drawn.mp4", (), max_height=96)
    assert _first_number(tmp_path / "copy.mp4") == 100
    with open_video(tmp_path / "drawn.mp4") as video:
        assert (video.height, video.width) == LARGE
    check = verify_video(VideoToCheck(path), quick=False)
    assert (check.size, check.problems) == (LARGE, ())


def test_further_tracks_are_mentioned_once(tmp_path):
    path = _video(tmp_path / "video.mkv", (SMALL, LARGE), 1)
    said = "track 1 (128x96) is read, as ffmpeg and players choose, and not track 0 (64x48)"
    result = CliRunner().invoke(app, ["data", "verify", str(path), "--workers", "1"])
    assert result.exit_code == 0
    assert result.output.replace("\n", " ").count(said) == 1
    told = json.loads(CliRunner().invoke(app, ["data", "verify", str(path), "--workers", "1", "--json"]).stdout)
    assert [said in note for note in told["videos"][0]["notes"]] == [True]
    with open_video(path) as video:
        assert [said in caveat for caveat in video.caveats()] == [True]


@pytest.mark.data
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_preview_in_front_of_the_video_of_a_user_is_not_read(real_data, suffix):
    path = real_data / "cases" / "02_main_track_not_first" / f"F_preview_first{suffix}"
    with open_video(path) as video:
        assert (video.height, video.width) == (96, 160)
        batch = video.frames_played_at([0.0, 1.01])
        # The preview begins with number 500 and has three frames a second.
        assert numbers_in(batch.frames)[0] == 0
        assert batch.pts_s == pytest.approx([0.0, 1.0], abs=1e-3)
