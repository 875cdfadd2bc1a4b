import io
import json
import unicodedata
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from sgear.cli.main import app
from sgear.cli.terminal import clock_text, video_progress
from sgear.cli.video import bytes_text
from sgear.datasets.own import import_own
from sgear.errors import ConfigError, VideoError

RUNNER = CliRunner()


def write_video(path: Path, num_frames: int) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for idx in range(num_frames):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * idx % 250, np.uint8), format="rgb24")
            image.pts, image.time_base = idx, Fraction(1, 10)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


def run(*words):
    return RUNNER.invoke(app, ["data", *map(str, words), "--workers", "1"])


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos [1]"
    (folder / "P01").mkdir(parents=True)
    write_video(folder / "P01" / "P01_01.MP4", 30)
    write_video(folder / "P01_02.mp4", 20)
    return folder


@pytest.fixture
def dataset(tmp_path):
    rows = ["video,start,stop,verb,noun,split", "P01_01,0.5,1.5,take,cup,train", "P01_01,2,3,put,cup,validation"]
    (tmp_path / "own.csv").write_text("\n".join([*rows, "P01_02,0.5,2.0,put,cup,train"]) + "\n")
    import_own(tmp_path / "own.csv", tmp_path / "own")
    return tmp_path / "own"


def test_transcode_says_what_it_did(videos, tmp_path):
    result = run("transcode", videos, "--out", tmp_path / "small")
    assert result.exit_code == 0, result.output
    assert "2 videos" in result.output
    assert "0:00:05 (0.00139 h)" in result.output
    assert sorted(path.name for path in (tmp_path / "small").rglob("*.[mM]*4")) == ["P01_01.MP4", "P01_02.mp4"]


def test_transcode_of_a_damaged_video_exits_with_2_after_all_others(videos, tmp_path):
    (videos / "A_first.mp4").write_bytes((videos / "P01_02.mp4").read_bytes()[:-300])
    result = run("transcode", videos, "--out", tmp_path / "small")
    assert result.exit_code == 2
    assert f"failed {videos}/A_first.mp4: " in result.output
    assert "2 videos" in result.output
    again = run("transcode", videos, "--out", tmp_path / "small")
    assert again.exit_code == 2
    assert "0 videos" in again.output


@pytest.mark.parametrize(
    "words", [("--short-side", "255"), ("--crf", "60"), ("--gop", "0"), ("--fps", "0"), ("--fps", "nan")]
)
def test_wrong_settings_of_transcode_are_refused(videos, tmp_path, words):
    result = run("transcode", videos, "--out", tmp_path / "small", *words)
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "small").exists()


def test_verify_of_whole_videos_exits_with_0(videos):
    result = run("verify", videos)
    assert result.exit_code == 0, result.output
    assert "nothing wrong was found" in result.output


def test_verify_names_each_broken_video_and_exits_with_1(videos):
    (videos / "cut.mp4").write_bytes((videos / "P01_02.mp4").read_bytes()[:-300])
    (videos / "empty.mp4").touch()
    result = run("verify", videos)
    assert result.exit_code == 1
    assert f"problem {videos}/cut.mp4: not a readable video" in result.output
    assert f"problem {videos}/empty.mp4: the file is empty" in result.output


def test_verify_prints_one_json_object(videos):
    (videos / "empty.mp4").touch()
    result = run("verify", videos, "--quick", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (told["is_right"], told["quick"], told["rows"]) == (False, True, None)
    assert [Path(video["path"]).name for video in told["videos"] if video["problems"]] == ["empty.mp4"]


def test_verify_of_a_dataset_holds_its_rows_against_its_videos(videos, dataset):
    options = ("--dataset", "csv", "--root", dataset, "--video-root", videos, "--json")
    told = json.loads(run("verify", *options).stdout)
    assert told["is_right"]
    write_video(videos / "P01" / "P01_01.MP4", 22)
    (videos / "P01_02.mp4").rename(videos / "P01_09.mp4")
    result = run("verify", *options)
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [row["split"] for row in told["rows"]["outside"]] == ["validation"]
    assert told["rows"]["missing"] == {"P01_02": 1}
    assert told["rows"]["without_rows"] == ["P01_09"]
    assert [Path(video["path"]).name for video in told["videos"]] == ["P01_01.MP4"]
    text = run("verify", *options[:-1]).output
    assert "video P01_02: no video, rows: 1" in text
    assert "stops at 3.000 s, after the video, which ends at 2.200 s" in text
    assert "without rows, not checked: P01_09" in text


def test_verify_takes_the_video_of_the_first_root_and_names_doubles(videos, dataset, tmp_path):
    (tmp_path / "first").mkdir()
    write_video(tmp_path / "first" / "P01_01.mp4", 30)
    write_video(videos / "P01_02.m4v", 20)
    roots = ("--video-root", tmp_path / "first", "--video-root", videos)
    told = json.loads(run("verify", "--dataset", "csv", "--root", dataset, *roots, "--json").stdout)
    assert [video["path"] for video in told["videos"]] == [str(tmp_path / "first" / "P01_01.mp4")]
    assert list(told["doubled"]) == ["P01_02"]
    assert not told["is_right"]


def test_verify_finds_videos_however_their_accents_are_spelled(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "pré") for form in ("NFC", "NFD"))
    for in_table, on_disk in ((composed, decomposed), (decomposed, composed)):
        root = tmp_path / f"{in_table == composed}"
        (root / "videos").mkdir(parents=True)
        write_video(root / "videos" / f"{on_disk}.mp4", 30)
        rows = ["video,start,stop,verb,noun,split", f"{in_table},0.5,1.5,take,cup,train"]
        (root / "own.csv").write_text("\n".join([*rows, f"{in_table},2,2.9,put,cup,validation"]) + "\n")
        import_own(root / "own.csv", root / "own", videos=root / "videos")
        options = ("--dataset", "csv", "--root", root / "own", "--video-root", root / "videos", "--json")
        told = json.loads(run("verify", *options).stdout)
        assert told["is_right"], told


def test_verify_refuses_what_it_could_not_use(videos, dataset, tmp_path):
    assert isinstance(run("verify").exception, ConfigError)
    assert isinstance(run("verify", videos, "--dataset", "csv").exception, ConfigError)
    assert run("verify", videos, "--root", dataset).exit_code == 2
    absent = ("--video-root", tmp_path / "absent")
    assert isinstance(run("verify", "--dataset", "csv", "--root", dataset, *absent).exception, VideoError)
    assert isinstance(run("verify", tmp_path / "absent").exception, VideoError)


def _images(folder: Path, num: int = 5) -> Path:
    folder.mkdir(parents=True)
    for number in range(1, num + 1):
        Image.fromarray(np.full((24, 32, 3), 8 * number, np.uint8)).save(folder / f"frame_{number:010d}.jpg")
    return folder


def test_verify_without_a_rate_names_the_videos_of_images_and_checks_the_rest(videos):
    _images(videos / "P02_01")
    (videos / "P01_02.mp4").rename(videos / "P01_02.tar")
    result = run("verify", videos)
    assert result.exit_code == 1
    assert f"problem {videos}/P02_01: images do not say at which rate" in result.output
    assert "--frame-fps" in result.output
    assert f"problem {videos}/P01_02.tar: " in result.output
    assert "tar" in result.output.split("P01_02.tar: ")[1].splitlines()[0]
    assert "0:00:03" in result.output, "the video beside them is checked"
    told = json.loads(run("verify", videos, "--frame-fps", "10", "--json").stdout)
    assert [Path(video["path"]).name for video in told["videos"] if video["problems"]] == ["P01_02.tar"]


def test_what_a_folder_scan_passes_over_is_told(videos, tmp_path):
    _images(videos / "P02_01")
    for name in ("a.LRV", "b.LRV", "c.txt"):
        (videos / name).touch()
    copied = run("transcode", videos, "--out", tmp_path / "small")
    assert copied.exit_code == 0, copied.output
    assert "3 files (.LRV 2, .txt 1) and 1 video made of images" in copied.output
    assert "Every video file except those skipped has its copy" in copied.output
    checked = run("verify", videos, "--frame-fps", "10")
    assert "3 files (.LRV 2, .txt 1)" in checked.output
    told = json.loads(run("verify", videos, "--frame-fps", "10", "--json").stdout)
    assert told["passed_over"] == {".LRV": 2, ".txt": 1}


def test_a_folder_with_videos_of_images_alone_is_said_to_hold_no_video_file(tmp_path):
    result = run("transcode", _images(tmp_path / "P01_01"), "--out", tmp_path / "small")
    assert isinstance(result.exception, VideoError)
    assert "only 1 video made of images" in str(result.exception)


def test_without_a_terminal_progress_is_told_in_lines(videos, tmp_path):
    lines = run("transcode", videos, "--out", tmp_path / "small").stdout.splitlines()
    assert lines[0] == "looking at 2 videos"
    assert lines[1].startswith("copying: 0/2 videos, 0:00:00 of 0:00:05 of video")
    assert any(line.startswith("copying: 2/2 videos, 0:00:05 of 0:00:05 of video") for line in lines)
    checked = run("verify", videos, "--json")
    assert "looking at 2 videos" in checked.stderr
    assert "checking: 2/2 videos" in checked.stderr


def test_lines_of_progress_come_at_the_beginning_now_and_then_and_at_the_end():
    written = io.StringIO()
    with video_progress(Console(file=written), "copying", line_every_s=3600.0) as report:
        for done_s in range(11):
            report(done_s // 10, 1, float(done_s), 10.0)
    assert [line.split(",")[0] for line in written.getvalue().splitlines()] == [
        "copying: 0/1 videos",
        "copying: 1/1 videos",
    ]
    written = io.StringIO()
    with video_progress(Console(file=written), "copying", line_every_s=0.0) as report:
        for done_s in range(4):
            report(0, 1, float(done_s), 10.0)
    assert len(written.getvalue().splitlines()) == 4
    assert "about 0:00:00 left" in written.getvalue()


def test_sizes_and_times_are_written_for_people():
    assert [bytes_text(number) for number in (0, 999, 1000, 45_600_000, 2_340_000_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "45.6 MB",
        "2.34 TB",
    ]
    assert [clock_text(seconds) for seconds in (0.0, 59.6, 3661.0, 360_000.0)] == [
        "0:00:00",
        "0:01:00",
        "1:01:01",
        "100:00:00",
    ]
