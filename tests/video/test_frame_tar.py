"""Tar files of images: any tar, nothing extracted, and damage found when the file is opened."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from coded_videos import numbers_in
from numbered_files import add_member, image_bytes, make_folder, make_tar

from sgear.errors import VideoError
from sgear.video.pool import open_video

FPS = 30.0


def _add_odd(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w") as archive:
        add_member(archive, "./frame_0000000001.jpg", image_bytes(1))
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        add_member(archive, "./frame_0000000003.jpg", image_bytes(3))
    return path


def _member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "prefix", ["./frame_", "frame_", "P01_01/frame_", "d" * 90 + "/" + "e" * 60 + "/frame_", "ü" * 120 + "_"], ids=len
)
def test_every_kind_of_tar_and_length_of_name_is_read(tmp_path, layout, prefix):
    if layout == tarfile.USTAR_FORMAT and prefix.startswith("ü"):
        prefix = "ü" * 20
    with open_video(
        make_tar(tmp_path / "P01_01.tar", range(1, 10), prefix=prefix, layout=layout), frame_fps=FPS
    ) as video:
        assert numbers_in(video.frames_played_at([8 / 30, 0.0]).frames) == [9, 1]


def test_a_tar_made_by_the_tar_command_with_its_folder_is_read(tmp_path):
    folder = make_folder(tmp_path / "P01_01", range(1, 6))
    with tarfile.open(tmp_path / "video.tar", "w") as archive:
        archive.add(folder, arcname=".")
    with open_video(tmp_path / "video.tar", frame_fps=FPS) as video:
        assert video.num_frames == 5


def test_sizes_beyond_the_octal_field_are_understood(tmp_path):
    path = make_tar(tmp_path / "video.tar", range(1, 4), layout=tarfile.GNU_FORMAT)
    content = bytearray(path.read_bytes())
    size = int(content[124:135], 8)
    content[124:136] = b"\x80" + size.to_bytes(11, "big")
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    path.write_bytes(content)
    with open_video(path, frame_fps=FPS) as video:
        assert numbers_in(video.frames_played_at([0.0, 0.05]).frames) == [1, 2]


@pytest.mark.parametrize(
    "member",
    [
        _member("frame_0000000002.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        _member("frame_0000000002.jpg", tarfile.LNKTYPE, "frame_0000000001.jpg"),
        _member("frame_0000000002.jpg", tarfile.CHRTYPE),
        _member("frame_0000000002.jpg", tarfile.FIFOTYPE),
    ],
    ids=["symbolic link", "hard link", "device", "pipe"],
)
def test_links_and_devices_are_refused_by_name(tmp_path, member):
    with pytest.raises(VideoError, match=r"video\.tar: 'frame_0000000002\.jpg' is a .*only regular files"):
        open_video(_add_odd(tmp_path / "video.tar", member), frame_fps=FPS)


@pytest.mark.parametrize("name", ["../frame_0000000002.jpg", "/tmp/frame_0000000002.jpg", "a/../../frame_2.jpg"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    path = _add_odd(tmp_path / "video.tar", _member(name, tarfile.REGTYPE), image_bytes(2))
    with pytest.raises(VideoError, match="points out of the archive"):
        open_video(path, frame_fps=FPS)


def test_nothing_is_written_beside_the_archive(tmp_path):
    path = make_tar(tmp_path / "video.tar", range(1, 4))
    with open_video(path, frame_fps=FPS) as video:
        video.frames_played_at([0.0])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9, 0.97])
def test_a_truncated_archive_does_not_open(tmp_path, share):
    path = make_tar(tmp_path / "video.tar", range(1, 30))
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
    path.write_bytes(path.read_bytes()[: int(end * share)])
    with pytest.raises(VideoError, match=r"video\.tar: .*(truncated|damaged).*fetch it again"):
        open_video(path, frame_fps=FPS)


def test_an_archive_cut_between_two_images_does_not_open(tmp_path):
    path = make_tar(tmp_path / "video.tar", range(1, 30))
    with tarfile.open(path) as archive:
        cut = archive.getmembers()[20].offset
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(VideoError, match="its end mark is missing"):
        open_video(path, frame_fps=FPS)


def test_an_overwritten_header_is_named_by_its_place(tmp_path):
    path = make_tar(tmp_path / "video.tar", range(1, 30))
    with tarfile.open(path) as archive:
        place = archive.getmembers()[10].offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"?" * 40
    path.write_bytes(content)
    with pytest.raises(VideoError, match=f"header at byte {place} is damaged"):
        open_video(path, frame_fps=FPS)


@pytest.mark.parametrize("name", ["video.tar", "video.tar.gz", "video.tgz"])
def test_a_compressed_archive_is_refused_with_the_remedy(tmp_path, name):
    plain = make_tar(tmp_path / "plain", range(1, 4)).read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(plain))
    with pytest.raises(VideoError, match=r"compressed.*gzip -d"):
        open_video(tmp_path / name, frame_fps=FPS)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "empty"), (b"minutes\n" * 400, "not a tar file"), (b"short", "not a tar file")]
)
def test_what_is_no_archive_is_refused(tmp_path, content, complaint):
    (tmp_path / "video.tar").write_bytes(content)
    with pytest.raises(VideoError, match=rf"video\.tar: .*{complaint}"):
        open_video(tmp_path / "video.tar", frame_fps=FPS)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"video\.tar: no such file"):
        open_video(tmp_path / "video.tar", frame_fps=FPS)


def test_an_open_archive_is_closed_when_it_is_forgotten(tmp_path):
    path = make_tar(tmp_path / "video.tar", range(1, 4))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else pytest.skip("no /proc")
    for _ in range(20):
        open_video(path, frame_fps=FPS)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


@pytest.mark.slow
def test_an_archive_of_a_hundred_thousand_images_opens_in_seconds(tmp_path):
    path = tmp_path / "long.tar"
    image = image_bytes(1)
    with tarfile.open(path, "w") as archive:
        for number in range(1, 100_001):
            add_member(archive, f"./frame_{number:010d}.jpg", image)
    # In a process of its own: the type checks of the tests make it ten times slower.
    script = (
        "import sys, time; from sgear.video.pool import open_video; start_s = time.perf_counter(); "
        "video = open_video(sys.argv[1], frame_fps=60.0); opened_s = time.perf_counter() - start_s; "
        "video.frames_played_at([1000.0]); assert video.num_frames == 100_000; sys.stdout.write(str(opened_s))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 12, "about 4 s on a busy core"


def test_an_archive_is_not_sent_to_other_processes(tmp_path):
    with open_video(make_tar(tmp_path / "video.tar", range(1, 4)), frame_fps=FPS) as video, pytest.raises(TypeError):
        pickle.dumps(video)


def _with_size_field(path: Path, position: int, field: bytes) -> None:
    content = bytearray(path.read_bytes())
    block = content[position : position + 512]
    block[124:136] = field.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    content[position : position + 512] = block
    path.write_bytes(content)


_NO_SIZES = [b"-0000001000", b"-1", b"+0000000010", b"0o10", b"1_0", b"9", "²".encode(), b"\xff" * 12]


@pytest.mark.parametrize("field", _NO_SIZES)
def test_a_size_that_is_no_plain_octal_number_ends_the_reading_at_once(tmp_path, field):
    path = make_tar(tmp_path / "video.tar", range(1, 4), layout=tarfile.USTAR_FORMAT)
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1].offset
    _with_size_field(path, second, field)
    with pytest.raises(VideoError, match=r"video\.tar: .*fetch it again"):
        open_video(path, frame_fps=FPS)


@pytest.mark.parametrize("size", ["²", "٣", "9" * 5000, "-512"], ids=["superscript", "arabic", "long", "negative"])
def test_an_extended_size_that_is_no_plain_number_is_refused(tmp_path, size):
    path = tmp_path / "video.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("frame_0000000001.jpg")
        member.pax_headers = {"size": size}
        archive.addfile(member)
    with pytest.raises(VideoError, match=r"video\.tar: .*again"):
        open_video(path, frame_fps=FPS)


def test_an_extended_header_of_an_endless_length_is_refused(tmp_path):
    path = tmp_path / "video.tar"
    with tarfile.open(path, "w") as archive:
        add_member(archive, "x", b"9" * 5000 + b" path=a\n")
    content = bytearray(path.read_bytes())
    content[156:157] = b"x"
    path.write_bytes(content)
    _with_size_field(path, 0, bytes(content[124:136]))
    with pytest.raises(VideoError, match="not a tar file, or damaged"):
        open_video(path, frame_fps=FPS)


def test_a_tar_that_may_not_be_opened_is_a_video_error(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "video.tar", range(1, 4))

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VideoError, match=r"video\.tar: the file cannot be read \(Permission denied\)"):
        open_video(path, frame_fps=FPS)
